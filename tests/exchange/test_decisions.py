"""Decisions of the gallery, as its page saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unseg_d2.data.coco import read_coco
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.import_ import import_corrections
from unseg_d2.viz.decisions import KIND, VERSION, masks_key


def saved(labels: Path, folder: Path, *entries: tuple[int, dict[str, str], bool], **change: Any) -> Path:
    """A file of decisions: number of the image, what is decided about masks by id, and whether it is done."""
    dataset = read_coco(labels)
    images = []
    for number, masks, done in entries:
        image = dataset.images[number]
        key = masks_key([item for item in dataset.annotations if item["image_id"] == image["id"]])
        images.append({"file_name": image["file_name"], "key": key, "done": done, "masks": masks})
    content = {"kind": KIND, "version": VERSION, "labels": "x", "images": images} | change
    (folder / "decisions.json").write_text(json.dumps(content))
    return folder / "decisions.json"


def test_kept_masks_are_the_persons_and_dropped_ones_go(label_set: Path, tmp_path: Path) -> None:
    path = saved(label_set, tmp_path, (0, {"1": "keep", "2": "drop"}, False))
    report = import_corrections(path, labels=label_set, output=tmp_path / "a.json")
    assert (report.images, report.approved, report.removed, report.new, report.done) == (1, 1, 1, 0, 0)
    before, after = read_coco(label_set), read_coco(tmp_path / "a.json")
    assert [item["id"] for item in after.annotations] == [1, 3, 4, 5, 6, 7, 8, 9]
    assert after.annotations[0] == before.annotations[0] | {"score": 1.0, "corrected": True}
    assert after.annotations[1:] == before.annotations[2:] and after.images == before.images


def test_what_is_left_in_an_image_that_is_done_is_the_persons(label_set: Path, tmp_path: Path) -> None:
    path = saved(label_set, tmp_path, (0, {"2": "drop"}, True), (1, {}, False))
    report = import_corrections(path, labels=label_set, output=tmp_path / "a.json")
    assert (report.images, report.approved, report.removed, report.done, report.undone) == (2, 2, 1, 1, 1)
    after = read_coco(tmp_path / "a.json")
    assert [image.get("done") for image in after.images] == [True, None, None]
    assert [(item["id"], item["score"]) for item in after.annotations if item.get("corrected")] == [(1, 1.0), (3, 1.0)]


def test_decisions_about_other_masks_are_not_followed(label_set: Path, tmp_path: Path) -> None:
    path = saved(label_set, tmp_path, (0, {"1": "drop"}, False), (2, {"7": "drop"}, False))
    content = json.loads(label_set.read_text())
    content["annotations"][0]["bbox"][2] -= 2  # the label set was made again in the meantime
    label_set.write_text(json.dumps(content))
    decided = json.loads(path.read_text())
    decided["images"].append({"file_name": "gone.jpg", "key": "", "done": True, "masks": {}})
    path.write_text(json.dumps(decided))
    report = import_corrections(path, labels=label_set, output=tmp_path / "a.json")
    assert report.lines()[1:] == [
        '1 images with decisions are not in the label set; the first is "gone.jpg".',
        '1 images with decisions have other masks than the page showed; the first is "a.jpg".',
    ]
    assert [item["id"] for item in read_coco(tmp_path / "a.json").annotations] == [1, 2, 3, 4, 5, 6, 8, 9]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "is of version 2 of unseg_d2 decisions, but 1 is read here"),
        ({"images": 3}, "image 1 of the decisions is damaged"),
        ({"images": [{"file_name": "a.jpg"}]}, "image 1 of the decisions is damaged"),
        ({"images": [{"file_name": "a.jpg", "key": "", "done": False, "masks": {"1": "maybe"}}]}, 'decides "maybe"'),
    ],
)
def test_a_damaged_file_is_refused(label_set: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = saved(label_set, tmp_path, **change)
    with pytest.raises(UnsegError, match=message):
        import_corrections(path, labels=label_set, output=tmp_path / "a.json")


def test_parts_of_a_mask_that_goes_hang_on_the_one_around_it(label_set: Path, tmp_path: Path) -> None:
    content = json.loads(label_set.read_text())
    for node, parent in enumerate((1, 2, None)):
        content["annotations"][node] |= {"level": node, "node": node} | ({} if parent is None else {"parent": parent})
    label_set.write_text(json.dumps(content))
    path = saved(label_set, tmp_path, (0, {"2": "drop"}, False))
    import_corrections(path, labels=label_set, output=tmp_path / "a.json")
    after = read_coco(tmp_path / "a.json")
    assert [(item.get("node"), item.get("parent")) for item in after.annotations[:3]] == [
        (0, 2),
        (2, None),
        (None, None),
    ]
