"""`unseg-d2 parity` on stand-ins of the published files' layouts: nothing of the published files is in the project."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unseg_d2.cli.parity import main
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask
from unseg_d2.saliency.head import SaliencyHead


def square(left: int, top: int, side: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def promerge_record(number: int, image: int, mask: np.ndarray) -> dict[str, Any]:
    """A record with the keys of ProMerge's file."""
    height, width = mask.shape
    record = {"id": number, "image_id": image, "category_id": 1.0, "iscrowd": 0, "area": int(mask.sum()), "score": 1.0}
    return {**record, "bbox": [0.0, 0.0, 1.0, 1.0], "segmentation": encode_mask(mask), "width": width, "height": height}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    records = [promerge_record(0, 2592, square(8, 8, 16)), promerge_record(1, 2592, square(40, 8, 16))]
    records.append(promerge_record(2, 139, square(8, 8, 32)))
    Path("promerge.json").write_text(json.dumps(records))
    boxes = {"000005.jpg": np.array([8, 8, 24, 24]), "000007.jpg": np.array([0, 0, 8, 8])}
    Path("lost.pkl").write_bytes(pickle.dumps(boxes, 4))
    Path("demo").mkdir()
    Image.fromarray((square(0, 0, 2, (3, 4)) * 255).astype(np.uint8)).resize((4, 3)).save("demo/000010_union.png")
    Image.new("RGB", (64, 48)).save("demo/000010.jpg")
    return tmp_path


def label_set(path: str, found: dict[str, list[np.ndarray]]) -> str:
    """Write a label set of images of 48 x 64 px."""
    images = [{"id": k, "file_name": f"{name}.jpg", "height": 48, "width": 64} for k, name in enumerate(found)]
    masks = [(k, mask) for k, items in enumerate(found.values()) for mask in items]
    annotations = [
        {"id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "segmentation": encode_mask(mask)}
        for number, (image, mask) in enumerate(masks, start=1)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "fg"}]}
    Path(path).write_text(json.dumps(content))
    return path


def test_promerges_masks_and_a_label_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = label_set("ours.json", {"000000002592": [square(8, 8, 16), square(40, 8, 12)], "000000000785": []})
    main(f"promerge --reference promerge.json --labels {ours} --output out".split())
    printed = capsys.readouterr().out
    assert "promerge.json: 3 masks of 2 images, up to 2 in one" in printed
    assert "1 images compared: 0 identical" in printed and "1 images of the published file are not in ours" in printed
    report = json.loads(Path("out/report.json").read_text())
    assert report["images"] == {"000000002592": {"published": [1.0, 0.5625], "ours": [1.0, 0.5625]}}
    assert report["missing"] == 1 and report["agreement"]["published"]["identical"] == 50


def test_coco_results_are_found_by_their_ids(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main("promerge --reference promerge.json --labels promerge.json".split())
    assert "2 images compared: 2 identical" in capsys.readouterr().out


def test_masks_are_made_for_the_published_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Handcrafted features stand in for DINO's; images that the file does not name are left alone."""
    Path("val2017").mkdir()
    for name, mask in (
        ("000000002592", square(8, 8, 16)),
        ("000000000139", square(8, 8, 32)),
        ("000000000001", square(0, 0, 9)),
    ):
        pixels = np.where(mask[..., None], (200, 30, 40), (40, 140, 60)).astype(np.uint8)
        Image.fromarray(pixels).save(f"val2017/{name}.jpg", quality=95)
    words = "promerge --reference promerge.json --images val2017 --output out --num-workers 0 FEATURES.NAME descriptors"
    for _ in range(2):  # the second run finds the masks made
        main([*words.split(), "FEATURES.IMAGE_SIZE", "64"])
        assert "2 images compared" in capsys.readouterr().out
    made = json.loads(Path("out/masks/labels.json").read_text())
    assert [image["file_name"] for image in made["images"]] == ["000000002592.jpg", "000000000139.jpg"]
    assert made["info"]["settings"]["MASKS"]["MODE"] == "parity"


def test_losts_boxes_and_corloc(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One published box is on its object, the other is not; ours are both right."""
    images = [{"id": k, "file_name": f"VOC2007/JPEGImages/{k:06d}.jpg", "height": 48, "width": 64} for k in (5, 7, 9)]
    wanted = [
        {"id": k, "image_id": k, "category_id": 1, "bbox": box, "area": 1, "iscrowd": 0}
        for k, box in ((5, [8, 8, 16, 16]), (7, [8, 8, 30, 30]))
    ]
    Path("truth.json").write_text(json.dumps({"images": images, "annotations": wanted, "categories": [{"id": 1}]}))
    ours = label_set("ours.json", {"000005": [square(8, 8, 16)], "000007": [square(8, 8, 28)]})
    main(f"lost --reference lost.pkl --gt truth.json --labels {ours} --output out".split())
    printed = capsys.readouterr().out
    assert "lost.pkl: 2 boxes of 2 images" in printed
    assert "50.0 on 2 images with objects; 5011 of VOC07 trainval: 61.9 (Two Tricks" in printed
    assert json.loads(Path("out/report.json").read_text())["figures"] == {"CorLoc published": 50, "CorLoc ours": 100}


def test_a_pickle_that_would_run_code(folder: Path) -> None:
    Path("evil.pkl").write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    with pytest.raises(UnsegError, match=r"it names os\.system"):
        main("lost --reference evil.pkl".split())
    assert not Path("run").exists()


def test_unioncuts_foreground(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    main("unioncut --reference demo".split())
    assert "000010     3x4 patches, 33.3 % foreground" in capsys.readouterr().out
    ours = label_set("ours.json", {"000010": [square(0, 0, 16), square(0, 16, 16)]})
    main(f"unioncut --reference demo --labels {ours} --output out".split())
    assert json.loads(Path("out/report.json").read_text())["images"]["000010"]["ours"] == [0.5]
    seen: list[Any] = []

    def load(weights: str, *words: str, recipe: object) -> Any:
        seen.append((weights, words, recipe))
        return lambda paths: [square(0, 0, 32).astype(np.float32) for _ in paths]

    monkeypatch.setattr(SaliencyHead, "load", load)
    main("unioncut --reference demo --weights zoo:unionseg FEATURES.DEVICE cpu".split())
    assert seen == [("zoo:unionseg", ("FEATURES.DEVICE", "cpu"), None)]
    assert "1 images compared: 1 identical" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("promerge --reference promerge.json --images demo", "add --output FOLDER"),
        ("promerge --reference promerge.json --images demo --output out", "demo has none of the 2 images"),
        ("promerge --reference promerge.json --images nowhere --output out", "There is no folder nowhere"),
        ("promerge --reference promerge.json --images demo --labels promerge.json", "leave one of them out"),
        ("promerge --reference promerge.json SEED 1", "The recipe has no effect"),
        ("promerge --reference lost.pkl", "is not JSON"),
        ("promerge --reference broken.json", "do not sum to 48x65 pixels"),
        ("lost --reference promerge.json", "is not a pickled dictionary"),
        ("lost --reference short.pkl", r"an array of shape \(3,\) instead of the four numbers"),
        ("lost --reference lost.pkl --gt nowhere.json", "There is no file nowhere.json"),
        ("unioncut --reference val2017", "holds no picture NAME_union.jpg"),
        ("unioncut --reference demo --labels promerge.json", "has none of the images 000010"),
        ("unioncut --reference demo --labels a --weights b", "leave one of them out"),
    ],
)
def test_mistakes(folder: Path, words: str, message: str) -> None:
    broken = promerge_record(0, 2592, square(8, 8, 16))
    Path("broken.json").write_text(json.dumps([{**broken, "segmentation": {"size": [48, 65], "counts": "0"}}]))
    Path("short.pkl").write_bytes(pickle.dumps({"000005.jpg": np.zeros(3)}))
    with pytest.raises(UnsegError, match=message):
        main(words.split())
