"""The door to panoptic quality of things and stuff: `score-masks --stuff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unseg_d2.cli.score_masks import main
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask
from unseg_d2.training.score_masks import score_masks

HEIGHT, WIDTH = 20, 30


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A thing on sky above and grass below, which the maps call 3 and 0; the thing is found as it is."""
    thing = np.zeros((HEIGHT, WIDTH), bool)
    thing[5:15, 10:20] = True
    stuff = np.zeros((HEIGHT, WIDTH), np.uint8)
    stuff[10:] = 1
    for name, numbers in (("maps/a.png", np.where(stuff == 0, 3, 0)), ("gt/a.png", np.where(thing, 2, stuff))):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(numbers.astype(np.uint8)).save(tmp_path / name)
    images = [{"id": 4, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}]
    item = {"id": 1, "image_id": 4, "category_id": 1, "bbox": [10, 5, 10, 10], "segmentation": encode_mask(thing)}
    content = {"images": images, "annotations": [item], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "gt.json").write_text(json.dumps(content))
    other_ids = content | {"images": [images[0] | {"id": 1}], "annotations": [item | {"image_id": 1}]}
    (tmp_path / "masks.json").write_text(json.dumps(other_ids))
    return tmp_path


def test_from_files_to_nine_metrics(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--labels", str(files / "masks.json"), "--gt", str(files / "gt.json"), "--evaluator", "panoptic"]
    arguments += ["--stuff", str(files / "maps"), "--stuff-gt", str(files / "gt")]
    main([*arguments, "--output", str(files / "figures.json")])
    figures = json.loads((files / "figures.json").read_text())
    names = [f"{name}{part}" for part in ("", "th", "st") for name in ("PQ", "SQ", "RQ")]
    assert figures["figures"]["segm"] == dict.fromkeys(names, 100)
    printed = capsys.readouterr().out
    assert figures["stuff"] == str(files / "maps") and "PQst" in printed
    assert printed.endswith("th: things, st: stuff, whose clusters are matched (hungarian); in percent.\n")
    with pytest.raises(UnsegError, match=r"There is no folder .*nowhere, which should hold a label map for each image"):
        main([*arguments[:-3], str(files / "nowhere"), *arguments[-2:]])


def test_without_the_thing_its_pixels_are_stuff_that_is_wrong(files: Path) -> None:
    (files / "masks.json").write_text(json.dumps(json.loads((files / "gt.json").read_text()) | {"annotations": []}))
    overrides = ("TEST.EVALUATORS", ["panoptic"])
    places: dict[str, Any] = {"stuff": files / "maps", "stuff_truth": files / "gt"}
    metrics = score_masks(files / "masks.json", files / "gt.json", None, *overrides, **places).metrics["segm"]
    assert metrics["PQth"] == 0 and metrics["RQst"] == 100
    assert metrics["SQst"] == pytest.approx(100 * 250 / 300)  # half of the thing lies on each of both


def test_stuff_that_nobody_would_look_at_is_refused_or_named(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = files / "masks.json", files / "gt.json"
    with pytest.raises(UnsegError, match=r"Only the evaluator panoptic compares stuff .*add --evaluator panoptic"):
        score_masks(*paths, stuff=files / "maps", stuff_truth=files / "gt")
    with pytest.raises(UnsegError, match=r"name the maps to compare with it \(--stuff\)"):
        score_masks(*paths, None, "TEST.EVALUATORS", ["panoptic"], stuff_truth=files / "gt")
    score_masks(*paths, None, "TEST.EVALUATORS", ["panoptic"], "TEST.PANOPTIC.STUFF", (0, 1))
    assert "TEST.PANOPTIC.STUFF has no effect without maps of stuff (--stuff)" in caplog.text
    assert "STUFF_MATCHING" not in caplog.text


def test_categories_without_a_common_name_are_named(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = json.loads((files / "gt.json").read_text())
    content["categories"].append({"id": 2, "name": "dog"})
    (files / "gt.json").write_text(json.dumps(content))
    grouped = json.loads((files / "masks.json").read_text()) | {"categories": [{"id": 1, "name": "group 1"}]}
    (files / "masks.json").write_text(json.dumps(grouped))
    score_masks(files / "masks.json", files / "gt.json")
    score_masks(files / "masks.json", files / "gt.json", None, "TEST.PANOPTIC.MATCHING", "hungarian", *(
        "TEST.EVALUATORS", ["panoptic"]
    ))  # fmt: skip
    assert "No category" not in caplog.text
    score_masks(files / "masks.json", files / "gt.json", None, "TEST.EVALUATORS", ["panoptic"])
    assert "has the name of one of the ground truth, so that panoptic takes equal ids for one class" in caplog.text
