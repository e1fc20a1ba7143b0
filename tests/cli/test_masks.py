"""The commands around label sets, as a new user types them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.cli import export_masks, generate_masks, main, score_masks
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask

SETTINGS = ["FEATURES.NAME", "descriptors", "FEATURES.IMAGE_SIZE", "96", "FEATURES.DEVICE", "cpu"]


@pytest.fixture()
def images(tmp_path: Path) -> Path:
    """Three pictures of a bright disc on a textured background, and a file that is not a picture."""
    folder = tmp_path / "images"
    folder.mkdir()
    rows, columns = np.mgrid[:60, :80]
    for index in range(3):
        ground = np.random.default_rng(index).integers(40, 90, (60, 80, 1)).repeat(3, 2)
        disc = (rows - 30) ** 2 + (columns - 25 - 10 * index) ** 2 < 15**2
        ground[disc] = (220, 60, 30)
        Image.fromarray(np.uint8(ground)).save(folder / f"{index}.png")
    (folder / "broken.jpg").write_text("no picture")
    return folder


@pytest.fixture()
def label_set(images: Path, tmp_path: Path) -> Path:
    output = tmp_path / "labels"
    generate_masks.main(["--images", str(images), "--output", str(output), "--num-workers", "0", *SETTINGS])
    return output


def ground_truth(images: Path) -> Path:
    """The discs, with different ids."""
    rows, columns = np.mgrid[:60, :80]
    listed, annotations = [], []
    for index in range(3):
        disc = (rows - 30) ** 2 + (columns - 25 - 10 * index) ** 2 < 15**2
        listed.append({"id": 70 - index, "file_name": f"{index}.png", "height": 60, "width": 80})
        annotations.append({"image_id": 70 - index, "segmentation": encode_mask(disc)})
    path = images.parent / "truth.json"
    path.write_text(json.dumps({"images": listed, "annotations": annotations}))
    return path


def test_generate_says_what_is_there(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "labels"
    generate_masks.main(["--images", str(images), "--output", str(output), "--num-workers", "0", *SETTINGS])
    out, err = capsys.readouterr()
    masks = len(json.loads((output / "labels.json").read_text())["annotations"])
    assert out.splitlines() == [
        f"{masks} masks on 3 images: {output / 'labels.json'}",
        f"1 file not usable: {output / 'failures.jsonl'}",
        f"look at them: unseg-d2 visualize --labels {output} --output {output / 'gallery.html'}",
    ]
    assert "4/4" in err and f"found={masks}" in err


def test_masks_of_clear_objects_score_high(
    label_set: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = ground_truth(images)
    capsys.readouterr()
    score_masks.main(["--labels", str(label_set), "--gt", str(truth), "--output", str(tmp_path / "figures.json")])
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "objects  3 on 3 images, and 0 crowd regions"
    assert printed[-3].split() == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "R@.5"]
    assert [line.split()[0] for line in printed[-2:]] == ["box", "mask"]
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["figures"]["segm"]["Recall50"] == 100 and written["figures"]["segm"]["APl"] is None
    assert written["backend"] in printed[2]


def test_figures_computed_by_hand(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of three objects two are found exactly; without scores all results are equal: AP is 67 of 101 recall points."""
    truth = json.loads(ground_truth(images).read_text())
    (tmp_path / "results.json").write_text(json.dumps(truth["annotations"][:2]))
    capsys.readouterr()
    score_masks.main(["--labels", str(tmp_path / "results.json"), "--gt", str(images.parent / "truth.json")])
    figures = dict(zip(*(line.split()[-10:] for line in capsys.readouterr().out.splitlines()[-3:-1])))
    assert figures["AP"] == figures["AP50"] == f"{100 * 67 / 101:.2f}"
    assert figures["AR100"] == figures["AR1"] == figures["R@.5"] == "66.67" and figures["APl"] == "-"


def test_shares_and_export(images: Path, label_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "shares"
    command = ["--images", str(images), "--output", str(output), "--num-workers", "0", "--num-shards", "2"]
    generate_masks.main([*command, "--shard-index", "1", *SETTINGS])
    for name in ("labels.json", "failures.jsonl", "shards/000000.jsonl", "shards/000002.jsonl"):
        (output / name).unlink()
    capsys.readouterr()
    with pytest.raises(UnsegError, match="2 of 4 images are still to be done"):
        export_masks.main(["--labels", str(output)])
    export_masks.main(["--labels", str(output), "--partial", "--output", str(tmp_path / "part.json")])
    assert len(json.loads((tmp_path / "part.json").read_text())["images"]) == 1
    capsys.readouterr()
    generate_masks.main([*command, "--shard-index", "0", *SETTINGS])
    out = capsys.readouterr().out
    counts, advice = out.splitlines()
    assert counts.endswith(f"on 3 images: {output / 'labels.json'}") and advice.startswith("look at them: ")
    export_masks.main(["--labels", str(output), "--output", str(tmp_path / "whole.json")])
    expected = (label_set / "labels.json").read_bytes()
    assert (output / "labels.json").read_bytes() == expected
    here, there = (json.loads(path.read_text()) for path in (output / "labels.json", tmp_path / "whole.json"))
    roots = [content["info"].pop("image_root") for content in (here, there)]  # each is relative to its file
    assert here == there and (output / roots[0]).samefile(images) and (tmp_path / roots[1]).samefile(images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "missing"], "missing"),
        (["--images", "{images}", "FEATURES.NAMES", "descriptors"], "Unknown key FEATURES.NAMES.*FEATURES.NAME"),
        (["--images", "{images}", "FEATURES.NAME", "descriptor"], "Did you mean 'descriptors'"),
        (["--images", "{images}", "MASKS.GENERATOR", "maskcutt", *SETTINGS], "Did you mean 'maskcut'"),
        (["--config-file", "missing.yaml", "--images", "{images}"], "no configuration file missing.yaml"),
        (["--images", "{images}", "--shard-index", "3", "--num-shards", "2", *SETTINGS], "from 0 to 1, but is 3"),
        (["--images", "{images}", "--engine", "ray", "--num-workers", "2"], "--num-workers counts processes of this"),
    ],
)
def test_mistakes(images: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    filled = [argument.format(images=images) for argument in arguments]
    with pytest.raises(UnsegError, match=message):
        generate_masks.main(["--output", str(tmp_path / "out"), *filled])
    assert not (tmp_path / "out").exists()


def test_scoring_mistakes(label_set: Path, images: Path, tmp_path: Path) -> None:
    truth = ground_truth(images)
    (tmp_path / "bad.json").write_text("{")
    for arguments, message in [
        (["--labels", str(tmp_path / "bad.json"), "--gt", str(truth)], "is not JSON"),
        (["--labels", str(tmp_path), "--gt", str(truth)], "holds no label set"),
        (["--labels", str(label_set), "--gt", str(truth), "--output", str(truth)], "is what is read"),
        (["--labels", str(label_set), "--gt", str(truth), "--output", str(label_set / "labels.json")], "what is read"),
        (["--labels", str(label_set), "--gt", str(tmp_path / "none.json")], "There is no file"),
        (
            ["--labels", str(label_set), "--gt", str(truth), "--backend", "coco"],
            r"BACKEND in the overrides is 'coco', but must be one of 'auto', 'hotcoco'",
        ),
    ]:
        with pytest.raises(UnsegError, match=message):
            score_masks.main(arguments)


@pytest.mark.parametrize(
    ("arguments", "status", "printed"),
    [
        ([], 0, "commands:"),
        (["--version"], 0, "unseg-d2 0."),
        (["score_mask"], 2, "Did you mean 'score-masks'"),
        (["score-masks", "--labels", "x", "--gt", "y"], 2, "error: There is no file x."),
    ],
)
def test_console_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, printed: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["unseg-d2", *arguments])
    with pytest.raises(SystemExit) as exit:
        main.main()
    assert exit.value.code == status and printed in "".join(capsys.readouterr())
