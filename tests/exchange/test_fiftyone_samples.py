"""FiftyOne's own format, as files by hand; `test_fiftyone.py` has FiftyOne write it."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unseg_d2.data.coco import read_coco
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.import_ import import_corrections
from unseg_d2.rle import decode_mask, to_rle

HEIGHT, WIDTH = 44, 60  # of a.jpg


def packed(mask: np.ndarray) -> dict[str, Any]:
    file = io.BytesIO()
    np.save(file, mask)
    return {"$binary": {"base64": base64.b64encode(zlib.compress(file.getvalue())).decode(), "subType": "00"}}


def detection(box: list[float], mask: np.ndarray | None = None, **more: Any) -> dict[str, Any]:
    item = {"_cls": "Detection", "label": "new", "bounding_box": box}
    return item | ({} if mask is None else {"mask": packed(mask)}) | more


def write(folder: Path, *detections: Any, field: str = "ground_truth", **more: Any) -> Path:
    sample = {"filepath": "/somewhere/fo/data/a.jpg", field: {"_cls": "Detections", "detections": list(detections)}}
    (folder / "samples.json").write_text(json.dumps({"samples": [sample | more]}))
    return folder / "samples.json"


def masks(path: Path) -> list[np.ndarray]:
    """Masks of a.jpg, after the import."""
    dataset = read_coco(path)
    (image,) = (image for image in dataset.images if image["file_name"] == "a.jpg")
    items = [item for item in dataset.annotations if item["image_id"] == image["id"]]
    return [decode_mask(to_rle(item["segmentation"], HEIGHT, WIDTH), HEIGHT, WIDTH) for item in items]


@pytest.mark.parametrize("field", ["ground_truth", "corrected"])
def test_a_mask_lies_in_its_box(label_set: Path, tmp_path: Path, field: str) -> None:
    part = np.array([[True, False, True], [False, True, True]])
    path = write(tmp_path, detection([6 / WIDTH, 11 / HEIGHT, 3 / WIDTH, 2 / HEIGHT], part), field=field)
    report = import_corrections(path, labels=label_set, output=tmp_path / "new.json")
    assert (report.new, report.removed) == (1, 3)
    (found,) = masks(tmp_path / "new.json")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[11:13, 6:9] = part
    np.testing.assert_array_equal(found, expected)


def test_a_mask_is_stretched_to_a_box_that_was_changed_and_cut_at_the_edge(label_set: Path, tmp_path: Path) -> None:
    part = np.array([[True, False], [False, True]])
    path = write(tmp_path, detection([-2 / WIDTH, 40 / HEIGHT, 8 / WIDTH, 8 / HEIGHT], part))
    import_corrections(path, labels=label_set, output=tmp_path / "new.json")
    (found,) = masks(tmp_path / "new.json")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[40:44, 0:2] = True  # of 4 columns, two are left of the image; the lower half is below it
    np.testing.assert_array_equal(found, expected)


def test_images_that_the_label_set_does_not_have_are_counted(label_set: Path, tmp_path: Path) -> None:
    path = write(tmp_path, detection([0.1, 0.1, 0.5, 0.5], np.ones((22, 30), bool)))
    content = json.loads(path.read_text())
    content["samples"].append({"filepath": "/other/z.jpg", "ground_truth": content["samples"][0]["ground_truth"]})
    path.write_text(json.dumps(content))
    report = import_corrections(path, labels=label_set, output=tmp_path / "new.json")
    assert report.images == 1 and report.left_out["images that came back are not in the label set"][0] == 1


def test_labels_in_other_fields_are_counted(label_set: Path, tmp_path: Path) -> None:
    item = detection([0.1, 0.1, 0.5, 0.5], np.ones((22, 30), bool))
    path = write(tmp_path, item, lines={"_cls": "Polylines"}, old={"_cls": "Detections"})
    report = import_corrections(path, labels=label_set, output=tmp_path / "new.json")
    assert report.left_out["fields with other labels were left out"][0] == 2


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"bounding_box": [0, 0, 1]}, "sample 1 is damaged"),
        ({"bounding_box": [0, 0, "nan", 1]}, "a box is not finite"),
        ({"mask": {"$binary": {"base64": "AAAA"}}}, "sample 1 is damaged"),
        ({"mask": packed(np.zeros((3, 3, 3), bool))}, "no picture of numbers"),
        ({"mask": packed(np.zeros((3, 3), object))}, "sample 1 is damaged"),
        ({"mask": packed(np.zeros((9_999, 9_999), np.uint8))}, "larger than its image"),
        ({"mask_path": "masks/1.png"}, "a mask is in a file of its own"),
    ],
)
def test_damaged_masks_are_one_sentence(label_set: Path, tmp_path: Path, item: dict[str, Any], message: str) -> None:
    path = write(tmp_path, detection([0, 0, 1, 1], np.ones((4, 4), bool)) | item)
    with pytest.raises(UnsegError, match=message):
        import_corrections(path, labels=label_set, output=tmp_path / "new.json")
    assert not (tmp_path / "new.json").exists()


def test_several_fields_are_refused_by_name(label_set: Path, tmp_path: Path) -> None:
    path = write(tmp_path, field="b", a={"_cls": "Detections", "detections": []})
    with pytest.raises(UnsegError, match=r"several fields \(a, b\)"):
        import_corrections(path, labels=label_set, output=tmp_path / "new.json")


@pytest.mark.parametrize("labels", [{"_cls": "Polylines", "polylines": []}, None])
def test_a_file_without_detections_takes_no_mask_away(label_set: Path, tmp_path: Path, labels: Any) -> None:
    path = write(tmp_path, ground_truth=labels)
    with pytest.raises(UnsegError, match="no detections in any sample"):
        import_corrections(path, labels=label_set, output=tmp_path / "new.json")


def test_one_sample_with_labels_of_another_kind_is_damaged(label_set: Path, tmp_path: Path) -> None:
    path = write(tmp_path)
    content = json.loads(path.read_text())
    content["samples"].append({"filepath": "a.jpg", "ground_truth": {"_cls": "Polylines", "polylines": []}})
    path.write_text(json.dumps(content))
    with pytest.raises(UnsegError, match=r"sample 2 is damaged \(ground_truth holds Polylines"):
        import_corrections(path, labels=label_set, output=tmp_path / "new.json")
