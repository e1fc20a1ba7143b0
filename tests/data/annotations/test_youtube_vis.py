"""Files in the layout of YouTube-VIS are read as frames, wherever a COCO file is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unseg_d2.data.coco import open_coco, read_coco
from unseg_d2.errors import UnsegError

LEFT = {"size": [2, 3], "counts": [0, 2, 4]}
ALL = {"size": [2, 3], "counts": [0, 6]}


def content() -> dict[str, Any]:
    video = {"id": 5, "height": 2, "width": 3, "length": 3, "file_names": ["v/0.jpg", "v/1.jpg", "v/2.jpg"]}
    other = {"id": 9, "height": 2, "width": 3, "length": 1, "file_names": ["w/0.jpg"]}
    found = {"id": 31, "video_id": 5, "category_id": 4, "iscrowd": 0, "score": 0.5}
    found |= {"segmentations": [LEFT, None, ALL], "areas": [2, None, 6], "bboxes": [[0, 0, 1, 2], None, [0, 0, 3, 2]]}
    single = {"id": 32, "video_id": 9, "category_id": 4, "segmentations": [[[0, 0, 3, 0, 3, 2, 0, 2]]]}
    categories = [{"id": 4, "name": "duck"}]
    return {"info": {}, "videos": [video, other], "annotations": [found, single], "categories": categories}


def written(folder: Path, value: Any) -> Path:
    path = folder / "ytvis.json"
    path.write_text(json.dumps(value))
    return path


def test_objects_become_masks_of_frames(tmp_path: Path) -> None:
    dataset = read_coco(written(tmp_path, content()))
    assert [(i["file_name"], i["video_id"], i["frame_id"]) for i in dataset.images] == [
        ("v/0.jpg", 5, 0),
        ("v/1.jpg", 5, 1),
        ("v/2.jpg", 5, 2),
        ("w/0.jpg", 9, 0),
    ]
    found = [(a["image_id"], a["track_id"], a["area"]) for a in dataset.annotations]
    assert found == [(1, 31, 2), (3, 31, 6), (4, 32, 6)]
    assert dataset.annotations[0]["bbox"] == [0, 0, 1, 2] and dataset.annotations[1]["score"] == 0.5
    assert dataset.categories == [{"id": 4, "name": "duck"}]
    assert [(v["id"], v["file_name"], v["length"]) for v in dataset.videos] == [(5, "v", 3), (9, "w", 1)]
    index = open_coco(tmp_path / "ytvis.json")
    assert [len(found) for _, found in index] == [1, 0, 1, 1] and index.videos == dataset.videos


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["annotations"][0].update(video_id=8), "annotation 31 is of the video 8, which is not listed"),
        (lambda v: v["annotations"][0]["segmentations"].pop(), "has 2 masks, but its video 3 frames"),
        (lambda v: v["annotations"][0].pop("segmentations"), 'lacks "id" or the list "segmentations"'),
        (lambda v: v["videos"].append(v["videos"][0]), "the video id 5 occurs more than once"),
        (lambda v: v["videos"][0].pop("file_names"), 'a video lacks "id" or the list "file_names"'),
        (lambda v: v["annotations"][0]["segmentations"].__setitem__(0, 7), "segmentation"),
        (lambda v: v.update(annotations={}), 'the list "annotations" is missing'),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Any, message: str) -> None:
    value = content()
    change(value)
    with pytest.raises(UnsegError, match=rf"ytvis\.json: .*{message}"):
        read_coco(written(tmp_path, value))


def test_frames_of_a_coco_file_keep_what_it_says_of_videos(tmp_path: Path) -> None:
    image = {"id": 1, "file_name": "a.jpg", "height": 2, "width": 3, "video_id": 3, "frame_id": 8, "time": 0.25}
    mask = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 2], "segmentation": LEFT}
    odd = mask | {"id": 2, "bbox": [0, 0, 3, 2], "segmentation": ALL, "track_id": [1], "key": "no", "filled": None}
    value = {"images": [image], "annotations": [mask | {"track_id": 2, "key": True, "filled": 1}, odd]}
    value |= {"videos": [{"id": 3, "file_name": "film.mp4"}], "categories": [{"id": 1, "name": "fg"}]}
    dataset = read_coco(written(tmp_path, value))
    assert dataset.images == [image] and dataset.videos == [{"id": 3, "file_name": "film.mp4"}]
    first, second = dataset.annotations
    assert (first["track_id"], first["key"], first["filled"]) == (2, True, True)
    assert not {"track_id", "key", "filled"} & second.keys()
