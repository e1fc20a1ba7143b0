from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unseg_d2.data.coco import (
    check_coco,
    decode_mask,
    encode_mask,
    find_image_root,
    read_coco,
    resolve_image,
    to_records,
)
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_confidence

TALL, WIDE = 60, 80
OTHER_GRID = encode_confidence(np.ones((4, 6))) | {"size": [6, 6]}


def label_set() -> dict[str, Any]:
    """Two images of 60x80, the second without annotations, and an RLE and a polygon."""
    mask = np.zeros((TALL, WIDE), bool)
    mask[10:30, 20:50] = True
    return {
        "images": [
            {"id": 1, "file_name": "a/1.jpg", "height": TALL, "width": WIDE},
            {"id": 2, "file_name": "b/1.jpg", "height": TALL, "width": WIDE},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "segmentation": encode_mask(mask), "score": 0.5, "category_id": 1.0},
            {"id": 2, "image_id": 1, "segmentation": [[0, 0, 10, 0, 10, 10, 0, 10]], "iscrowd": 0, "category_id": 7},
        ],
    }


def test_fills_in_what_follows_from_the_masks() -> None:
    first, second = check_coco(label_set()).annotations
    assert first["bbox"] == [20, 10, 30, 20] and first["area"] == 600 and first["iscrowd"] == 0
    assert second["bbox"] == [0, 0, 10, 10] and second["area"] == 100


def test_records_are_detectron2s() -> None:
    records = to_records(check_coco(label_set()), "/data")
    assert [record["file_name"] for record in records] == ["/data/a/1.jpg", "/data/b/1.jpg"]
    assert [(record["image_id"], record["height"], record["width"]) for record in records] == [
        (1, TALL, WIDE),
        (2, TALL, WIDE),
    ]
    assert records[1]["annotations"] == []
    first, second = records[0]["annotations"]
    assert (first["bbox_mode"], first["category_id"], first["score"]) == (1, 0, 0.5)
    assert "score" not in second  # missing is not the same as 1
    assert decode_mask(first["segmentation"], TALL, WIDE).sum() == 600


def test_damaged_run_lengths_are_found_though_nothing_is_missing() -> None:
    content = label_set()
    content["annotations"][0] |= {"bbox": [20, 10, 30, 20], "area": 600}
    check_coco(content)
    content["annotations"][0]["segmentation"]["counts"] = "`n1"
    with pytest.raises(UnsegError, match=r'annotation 1 of "a/1\.jpg" is damaged'):
        check_coco(content)


def test_uncompressed_crowd_masks_become_compressed() -> None:
    content = label_set()
    counts = [0, 2 * TALL, (WIDE - 2) * TALL]
    content["annotations"][0] |= {"segmentation": {"size": [TALL, WIDE], "counts": counts}, "iscrowd": 1}
    annotation = check_coco(content).annotations[0]
    assert annotation["iscrowd"] == 1 and isinstance(annotation["segmentation"]["counts"], str)
    assert annotation["bbox"] == [0, 0, 2, TALL]


def test_exchanged_width_and_height_are_put_right() -> None:
    content = label_set()
    del content["annotations"][1]  # a polygon: with it, only images whose run lengths say so would be turned
    for image in content["images"]:
        image["height"], image["width"] = WIDE, TALL
    dataset = check_coco(content)
    assert [(image["height"], image["width"]) for image in dataset.images] == [(TALL, WIDE)] * 2


def test_only_the_exchanged_images_of_a_mixed_file_are_changed() -> None:
    content = label_set()
    content["annotations"].append(deepcopy(content["annotations"][0]) | {"id": 3, "image_id": 2})
    content["images"].append({"id": 3, "file_name": "c.jpg", "height": 7, "width": 9})
    content["images"][1] |= {"height": WIDE, "width": TALL}
    dataset = check_coco(content)
    assert [(image["height"], image["width"]) for image in dataset.images] == [(TALL, WIDE), (TALL, WIDE), (7, 9)]


def changed(path: str, value: Any) -> dict[str, Any]:
    """The label set with one value replaced, or removed when the value is ``...``."""
    content: Any = label_set()
    *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    node = content
    for key in parents:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "a list of results"),
        ("text", 'holds "text", but a COCO file'),
        (changed("images", ...), 'the list "images" is missing'),
        (changed("annotations", ...), 'the list "annotations" is missing'),
        (changed("annotations", None), 'the list "annotations" is missing'),
        (changed("images/0", 5), "image number 1 is 5"),
        (changed("images/0/id", ...), 'image number 1 lacks the key "id"'),
        (changed("images/0/file_name", ...), 'image 1 lacks the key "file_name"'),
        (changed("images/0/file_name", 3), 'the "file_name" of image 1 .*is 3, but text is needed'),
        (changed("images/0/width", "wide"), 'the "width" of image 1 .*is "wide", but a whole number'),
        (changed("images/0/width", float("inf")), 'the "width" of image 1 .*is Infinity, but a whole number'),
        (changed("images/1/id", 1), 'image id 1 occurs more than once: "a/1.jpg" and "b/1.jpg"'),
        (changed("images/1/id", [1]), 'the "id" of image number 2 is .*, but a number or text'),
        (changed("annotations/0", None), "annotation number 1 is null"),
        (changed("annotations/0/image_id", ...), 'annotation 1 lacks the key "image_id"'),
        (changed("annotations/0/image_id", 9), "image 9, which is not listed"),
        (changed("annotations/0/image_id", "9"), 'image "9", which is not listed'),
        (changed("annotations/0/image_id", [1]), 'the "image_id" of annotation 1 is .*, but a number or text'),
        (changed("annotations/0/iscrowd", "maybe"), 'the "iscrowd" of annotation 1 .*is "maybe", but 0 or 1'),
        (
            changed("annotations/0/segmentation/size", [70, 80]),
            'annotation 1 of "a/1.jpg": .*70x80 does not fit .*60x80',
        ),
        (changed("annotations/0/segmentation/size", 7), 'the "segmentation" of annotation 1 .*holds 7, but polygons'),
        (changed("annotations/0/segmentation/counts", "zzzz"), 'annotation 1 of "a/1.jpg".* damaged'),
        (changed("annotations/0/segmentation/counts", "~~~~"), 'annotation 1 of "a/1.jpg".* damaged'),
        (changed("annotations/0/segmentation/counts", "T3^Nn0V2"), 'annotation 1 of "a/1.jpg".* damaged'),
        (changed("annotations/1/segmentation/0/3", None), 'the "segmentation" of annotation 2 .image 1. holds null'),
        (changed("annotations/1/segmentation/0/3", "x"), 'the "segmentation" of annotation 2 .image 1. holds "x"'),
        (changed("annotations/1/segmentation/0/3", float("nan")), 'the "segmentation" of annotation 2 .*holds NaN'),
        (changed("annotations/1/segmentation/0/3", 1e9), 'the "segmentation" of annotation 2 .*holds 1000000000'),
        (changed("annotations/1/segmentation/0/3", -1e308), 'the "segmentation" of annotation 2 .*holds -1e'),
        (changed("annotations/1/bbox", [1, 2, 3]), '"bbox" has 3 values, but four numbers'),
        (changed("annotations/1/bbox", [1, 2, 3, float("nan")]), 'the "bbox" of annotation 2 .*holds NaN, but four'),
        (changed("annotations/1/bbox", {"x": 1}), 'the "bbox" of annotation 2 .*is {"x": 1}, but four numbers'),
        (changed("annotations/0/score", "high"), 'the "score" of annotation 1 .image 1. is "high", but a number'),
        (changed("annotations/0/score", float("nan")), 'the "score" of annotation 1 .*is NaN, but a number'),
        (changed("annotations/0/confidence", OTHER_GRID), 'annotation 1 of "a/1.jpg": a spatial confidence is damaged'),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UnsegError, match=f"labels.json: .*{message}"):
        read_coco(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"images": [\n}', "not JSON: .* in line 2"), (b"\xff\xd8\xff", "not JSON"), (b"", "not JSON")],
)
def test_files_that_are_not_json(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.json").write_bytes(content)
    with pytest.raises(UnsegError, match=message):
        read_coco(tmp_path / "labels.json")
    with pytest.raises(UnsegError, match="There is no file"):
        read_coco(tmp_path / "other.json")


def test_lists_of_images_without_annotations() -> None:
    content = {"images": [{"id": 1, "file_name": "1.jpg"}]}
    assert len(check_coco(content, need_annotations=False).images) == 1


@pytest.mark.parametrize("file_name", ["../1.jpg", "a/../../1.jpg", "/etc/passwd", "a\0b.jpg", "."])
def test_file_names_stay_inside_the_image_folder(file_name: str) -> None:
    with pytest.raises(UnsegError, match="points outside the image folder"):
        resolve_image("/data/images", file_name)
    with pytest.raises(UnsegError, match="points outside the image folder"):
        to_records(check_coco(changed("images/0/file_name", file_name)), "/data/images")


def test_absolute_file_names_inside_the_image_folder() -> None:
    assert resolve_image("/data/images", "/data/images/1.jpg") == Path("/data/images/1.jpg")


def test_the_image_folder_is_found(tmp_path: Path) -> None:
    dataset = check_coco(label_set())
    with pytest.raises(UnsegError, match=r"a/1\.jpg is in none of"):
        find_image_root(dataset, tmp_path / "annotations" / "labels.json")
    for folder in ("images", "annotations/images", "annotations", "elsewhere"):
        path = tmp_path / folder / "a" / "1.jpg"
        path.parent.mkdir(parents=True)
        path.touch()
        if folder == "elsewhere":
            dataset.info["image_root"] = str(tmp_path / folder)
        assert find_image_root(dataset, tmp_path / "annotations" / "labels.json") == tmp_path / folder
