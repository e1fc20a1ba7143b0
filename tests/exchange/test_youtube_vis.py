"""Tracks out in the layout of YouTube-VIS, and in again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unseg_d2.data.coco import read_coco
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.export import export_labels
from unseg_d2.rle import decode_mask, encode_mask

SIZE = (6, 8)


def mask(left: int) -> dict[str, Any]:
    pixels = np.zeros(SIZE, bool)
    pixels[1:4, left : left + 2] = True
    return encode_mask(pixels)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Three frames out of order; the first object is seen in the first and last of them."""
    images = [
        {"id": key, "file_name": f"film/{number}.png", "height": 6, "width": 8, "video_id": 4, "frame_id": number}
        for key, number in ((1, 2), (2, 0), (3, 1))
    ]
    annotations = [
        {"image_id": image, "track_id": track, "category_id": 1, "bbox": [left, 1, 2, 3], "area": 6, "iscrowd": 0}
        | {"segmentation": mask(left), "score": score}
        for image, track, left, score in ((2, 8, 0, 0.5), (1, 8, 2, 1.0), (3, 9, 5, 0.25))
    ]
    content = {"images": images, "annotations": [{"id": k, **a} for k, a in enumerate(annotations, start=1)]}
    content |= {"videos": [{"id": 4, "file_name": "film"}], "categories": [{"id": 1, "name": "fg"}]}
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    return path


def test_objects_have_a_mask_per_frame_and_null_where_they_are_not_seen(labels: Path, tmp_path: Path) -> None:
    written = export_labels(labels, tmp_path / "out", format="youtube-vis")
    assert written.path == tmp_path / "out" / "youtube_vis.json" and written.masks == 3
    content = json.loads(written.path.read_text())
    assert content["videos"] == [
        {"id": 1, "height": 6, "width": 8, "length": 3, "file_names": ["film/0.png", "film/1.png", "film/2.png"]}
    ]
    first, second = content["annotations"]
    assert first["segmentations"] == [mask(0), None, mask(2)] and first["areas"] == [6, None, 6]
    assert first["bboxes"] == [[0, 1, 2, 3], None, [2, 1, 2, 3]] and first["score"] == 0.75
    assert second["segmentations"][1] == mask(5) and second["video_id"] == first["video_id"] == 1


def test_what_goes_out_comes_back(labels: Path, tmp_path: Path) -> None:
    path = export_labels(labels, tmp_path / "y.json", format="youtube-vis").path
    before, after = read_coco(labels), read_coco(path)

    def masks(dataset: Any) -> dict[str, set[bytes]]:
        names = {image["id"]: image["file_name"] for image in dataset.images}
        found: dict[str, set[bytes]] = {}
        for item in dataset.annotations:
            found.setdefault(names[item["image_id"]], set()).add(decode_mask(item["segmentation"], *SIZE).tobytes())
        return found

    assert masks(before) == masks(after)
    tracks = [item["track_id"] for item in sorted(after.annotations, key=lambda item: item["image_id"])]
    assert tracks == [1, 2, 1]


def test_regions_to_ignore_of_a_frame_are_left_out_and_counted(labels: Path, tmp_path: Path) -> None:
    """They have no track, and no command gives them one."""
    content = json.loads(labels.read_text())
    content["annotations"].append({k: v for k, v in content["annotations"][0].items() if k != "track_id"})
    content["annotations"][-1] |= {"id": 99, "iscrowd": 1}
    (tmp_path / "crowd.json").write_text(json.dumps(content))
    written = export_labels(tmp_path / "crowd.json", tmp_path / "with", format="youtube-vis")
    assert "1 regions to ignore were left out" in written.left_out
    plain = export_labels(labels, tmp_path / "without", format="youtube-vis")
    assert written.path.read_bytes() == plain.path.read_bytes()


def test_the_class_of_a_track_is_that_of_most_of_its_masks(labels: Path, tmp_path: Path) -> None:
    content = json.loads(labels.read_text())
    extra = content["annotations"][0] | {"id": 9, "image_id": 3, "category_id": 2}
    content["annotations"] = [*content["annotations"], extra]
    content["annotations"][1]["category_id"] = 2  # the track has the class 1 in its first frame, and 2 in the others
    content["categories"].append({"id": 2, "name": "other"})
    (tmp_path / "two.json").write_text(json.dumps(content))
    written = export_labels(tmp_path / "two.json", tmp_path / "out", format="youtube-vis")
    assert [one["category_id"] for one in json.loads(written.path.read_text())["annotations"]] == [2, 1]
    assert "1 tracks have masks of several classes, of which the most frequent one was taken" in written.left_out


def test_coco_keeps_the_videos(labels: Path, tmp_path: Path) -> None:
    written = read_coco(export_labels(labels, tmp_path / "c.json").path)
    assert written.videos == [{"id": 4, "file_name": "film"}]
    assert [item["track_id"] for item in written.annotations] == [8, 8, 9]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].pop("track_id"), "1 of 3 masks have no track_id"),
        (lambda c: c["annotations"][2].update(image_id=1, track_id=8), r"film/2\.png has two masks of the track 8"),
        (lambda c: c["images"][0].pop("video_id"), "1 of 3 images belong to no video"),
    ],
)
def test_what_has_no_such_form_is_named(labels: Path, tmp_path: Path, change: Any, message: str) -> None:
    content = json.loads(labels.read_text())
    change(content)
    labels.write_text(json.dumps(content))
    with pytest.raises(UnsegError, match=message):
        export_labels(labels, tmp_path / "out", format="youtube-vis")
