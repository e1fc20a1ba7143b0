"""Annotation files as people have them: what is read although it is unusual, what is counted, what is refused."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.coco import (
    check_coco,
    decode_mask,
    encode_mask,
    find_image_root,
    locate_images,
    open_coco,
    read_coco,
    to_records,
)
from unseg_d2.data.results import read_results
from unseg_d2.errors import UnsegError

TALL, WIDE = 40, 60
SQUARE = [10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]  # a box of 20x20 px at x 10, y 5
BOX = [10, 5, 20, 20]
MASK = np.zeros((TALL, WIDE), bool)
MASK[5:25, 10:30] = True
RUNS = [10 * TALL + 5, *[20, 20] * 19, 20, 15 + 30 * TALL]  # of the same mask, column by column
CHANGES = [
    {"image_id": "1"},
    {"image_id": 1.0},
    {"category_id": None},
    {"category_id": "thing"},
    {"category_id": "1"},
    {"iscrowd": None},
    {"iscrowd": False},
    {"iscrowd": "0"},
    {"iscrowd": 0.0},
    {"bbox": ["10", "5.0", 20.0, 20]},
    {"bbox": []},
    {"bbox": None},
    {"bbox": [0, 0, 0, 0]},
    {"bbox": [10, 5, -1, 20]},
    {"bbox": [10, 5, 0, 20]},
    {"bbox": [12, 9, 0, 0]},
    {"bbox": [10, 5, 20, 0], "segmentation": encode_mask(MASK)},
    {"bbox": [0, 0, 0, 0], "segmentation": {"counts": RUNS}},
    {"area": None},
    {"area": "much"},
    {"area": 10**30},
    {"area": -4},
    {"score": None},
    {"confidence": 0.87},
    {"confidence": "high"},
    {"confidence": [0.5, 0.7]},
    {"segmentation": SQUARE},
    {"segmentation": [[str(value) for value in SQUARE]]},
    {"segmentation": np.reshape(SQUARE, (4, 2)).tolist()},
    {"segmentation": [np.reshape(SQUARE, (4, 2)).tolist()]},
    {"segmentation": [{"x": x, "y": y} for x, y in np.reshape(SQUARE, (4, 2)).tolist()]},
    {"segmentation": [[{"x": x, "y": str(y)} for x, y in np.reshape(SQUARE, (4, 2)).tolist()]]},
    {"segmentation": [SQUARE, [1, 1, 2, 2], [3, 3, 4]]},
    {"segmentation": encode_mask(MASK)},
    {"segmentation": {"size": [TALL, WIDE], "counts": RUNS}},
    {"segmentation": {"counts": RUNS}},
    {"segmentation": {"counts": encode_mask(MASK)["counts"]}},
]


def content(**change: Any) -> dict[str, Any]:
    """One image with a square, and fields of it that differ; ``...`` takes one away."""
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": BOX, "area": 400}
    annotation |= {"segmentation": [SQUARE]} | change
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": TALL, "width": WIDE}],
        "annotations": [{key: value for key, value in annotation.items() if value is not ...}],
        "categories": [{"id": 1, "name": "thing"}],
    }


def written(folder: Path, value: Any, name: str = "labels.json") -> Path:
    (folder / name).write_text(json.dumps(value))
    return folder / name


@pytest.mark.parametrize(
    "change", [*CHANGES, *({key: ...} for key in ("bbox", "area", "iscrowd", "category_id", "id"))]
)
def test_the_same_square_however_it_is_written(tmp_path: Path, change: dict[str, Any]) -> None:
    dataset = read_coco(written(tmp_path, content(**change)))
    (found,) = dataset.annotations
    assert (decode_mask(found["segmentation"], TALL, WIDE) == MASK).all()
    assert found["bbox"] == BOX and found["area"] == 400 and found["iscrowd"] == 0
    assert (found["image_id"], found["category_id"]) == (1, 1) and "confidence" not in found


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_windows_programs(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_bytes(json.dumps(content()).encode(encoding))
    assert len(read_coco(tmp_path / "a.json").annotations) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (gzip.compress(json.dumps(content()).encode()), "a.json is not JSON: it is compressed; unpack it."),
        (
            '{"images": [{"id": 1, "file_name": "Fuß.png"}]}'.encode("cp1252"),
            "not text in UTF-8; save it in that encoding",
        ),
    ],
)
def test_files_in_another_encoding_are_called_so(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(UnsegError, match=message):
        read_coco(tmp_path / "a.json")


@pytest.mark.parametrize("size", [(0, 0), (0, 20), (20, 0)])
def test_a_box_without_area_and_without_a_mask_is_no_object(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: tuple[int, int]
) -> None:
    value = content()
    value["annotations"] += [value["annotations"][0] | {"id": 2, "bbox": [3, 4, *size], "segmentation": None}]
    with caplog.at_level("INFO"):
        (found,) = read_coco(written(tmp_path, value)).annotations
    assert found["bbox"] == BOX and "1 annotations have neither a box nor a mask and were left out" in caplog.text


def test_a_list_of_run_lengths_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match=r'"segmentation" of annotation 1 .image 1. holds \{"size".*but polygons'):
        read_coco(written(tmp_path, content(segmentation=[encode_mask(MASK)])))


def test_numbers_that_nobody_reads_may_be_anything() -> None:
    value = content(area=float("nan"), attributes={"occluded": float("inf")}) | {"info": [1, 2], "licenses": None}
    assert check_coco(value).annotations[0]["area"] == 400 and check_coco(value).info == {}


def test_crowds_stay_crowds() -> None:
    for crowd in (1, True, "1", 1.0):
        assert check_coco(content(iscrowd=crowd)).annotations[0]["iscrowd"] == 1


def test_what_a_person_has_said_is_kept() -> None:
    value = content(corrected=True)
    value["images"][0]["done"] = True
    dataset = check_coco(value)
    assert dataset.images[0]["done"] is True and dataset.annotations[0]["corrected"] is True
    (record,) = to_records(dataset, "/photos")
    assert record["done"] is True
    dataset = check_coco(content(corrected=False))
    assert "done" not in dataset.images[0] and "corrected" not in dataset.annotations[0]


def test_sizes_from_masks_and_pictures(tmp_path: Path) -> None:
    value = content(segmentation=encode_mask(MASK))
    del value["images"][0]["height"], value["images"][0]["width"]
    assert check_coco(value).images[0]["height"] == TALL
    value["annotations"][0] |= {"segmentation": [SQUARE], "bbox": None}
    with pytest.raises(UnsegError, match=r'annotation 1 of "a\.png": the height and width of its image are missing'):
        read_coco(written(tmp_path, value))
    Image.new("RGB", (WIDE, TALL)).save(tmp_path / "a.png")
    assert read_coco(tmp_path / "labels.json").annotations[0]["bbox"] == BOX


def test_only_images_whose_run_lengths_say_so_are_turned() -> None:
    value = content()
    value["images"] += [{"id": 2, "file_name": "b.png", "height": TALL, "width": WIDE}]
    value["annotations"] += [{"image_id": 2, "segmentation": encode_mask(MASK.T)}]
    sizes = [(image["height"], image["width"]) for image in check_coco(value).images]
    assert sizes == [(TALL, WIDE), (WIDE, TALL)]


def test_lvis_names_its_files_in_an_address() -> None:
    value = content()
    value["images"] = [{"id": 1, "coco_url": "http://images/val2017/7.jpg", "height": TALL, "width": WIDE}]
    assert check_coco(value).images[0]["file_name"] == "val2017/7.jpg"


def test_names_that_are_not_utf_8_are_kept() -> None:
    value = content()
    value["images"][0]["file_name"] = "caf\udce9.png"
    assert check_coco(json.loads(json.dumps(value))).images[0]["file_name"] == "caf\udce9.png"


@pytest.mark.parametrize("key", ["score", "image_id", "segmentation"])
def test_half_a_character_and_infinite_ids_are_one_sentence(tmp_path: Path, key: str) -> None:
    for bad in ("\ud800" if key != "image_id" else float("-inf"), float("inf"), ["\ud800"]):
        for read, value in ((read_coco, content(**{key: bad})), (read_results, [result(**{key: bad})])):
            with pytest.raises(UnsegError, match=r"labels\.json: "):
                read(written(tmp_path, value))


def test_panoptic_files_are_read_as_boxes(caplog: pytest.LogCaptureFixture) -> None:
    segments = [{"id": 3, "category_id": 1, "bbox": BOX, "area": 400}, {"id": 4, "bbox": [0, 0, 9, 9], "iscrowd": 1}]
    value = content() | {"annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}]}
    with caplog.at_level("INFO"):
        found = check_coco(value).annotations
    assert [(a["bbox"], a["iscrowd"]) for a in found] == [(BOX, 0), ([0, 0, 9, 9], 1)]
    assert "2 segments of a panoptic file are read as boxes" in caplog.text


def test_videos_are_called_so() -> None:
    with pytest.raises(UnsegError, match='"images" is missing: it lists videos, and only images are read'):
        check_coco({"videos": [{"id": 1}], "annotations": []})


def test_what_is_left_out_is_counted_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    value = content()
    value["annotations"] += [{"id": 2, "image_id": 1, "bbox": [], "segmentation": []}]
    value["annotations"] += [{"id": 2, "image_id": 1, "bbox": BOX, "segmentation": [[1, 2, 3, 4]], "confidence": 3}]
    path = written(tmp_path, value)
    with caplog.at_level("INFO"):
        found = read_coco(path).annotations
        read_coco(path)
    assert [annotation["id"] for annotation in found] == [1, 3] and "segmentation" not in found[1]
    for part in (
        "1 annotations have neither a box nor a mask and were left out",
        "1 polygons have less than three corners, or half a corner, and were left out",
        "3 annotations have ids that are missing or occur twice",
        '1 values of "confidence" are not spatial confidence',
    ):
        assert caplog.text.count(part) == 1


def twice(*others: dict[str, Any]) -> dict[str, Any]:
    value = content()
    value["images"] += [value["images"][0] | {"id": 101}]
    value["annotations"] += [value["annotations"][0] | {"id": 7, "image_id": 101} | other for other in others]
    return value


def test_a_picture_listed_twice_is_joined_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        dataset = check_coco(twice({}, {"id": 8, "bbox": [40, 30, 5, 5], "segmentation": None}))
    assert [image["id"] for image in dataset.images] == [1] and dataset.joined == {101: 1}
    assert [(a["image_id"], a["bbox"]) for a in dataset.annotations] == [(1, BOX), (1, [40, 30, 5, 5])]
    assert "1 entries list a picture again" in caplog.text and "1 annotations of these pictures" in caplog.text
    assert len(check_coco(twice()).images) == 1
    with pytest.raises(UnsegError, match=r'picture "a\.png" is listed more than once .ids 1 and 101., and the same'):
        check_coco(twice({"bbox": [11, 5, 20, 20], "segmentation": None}))
    other = twice()
    other["images"][1]["height"] = 50
    with pytest.raises(UnsegError, match="with different sizes"):
        check_coco(other)


@pytest.mark.parametrize(
    ("stated", "there"),
    [
        ("C:\\data\\photos\\a.png", "photos/a.png"),
        ("/home/somebody/set/photos/a.png", "photos/a.png"),
        ("/home/somebody/set/photos/a.png", "a.png"),
        ("photos\\a.png", "photos/a.png"),
        ("cafe\u0301.png", "caf\u00e9.png"),
        ("caf\u00e9/1.png", "cafe\u0301/1.png"),
        ("b/../a.png", "a.png"),
        ("file:///home/somebody/photos/a.png", "photos/a.png"),
        ("file:///C:/data/a%20b.png", "a b.png"),
        ("s3://bucket/set/a.png", "set/a.png"),
        ("gs://bucket/a.png?sign=1&d=2", "a.png"),
        ("/data/local-files/?d=photos%5Ca.png", "photos/a.png"),
        ("/data/upload/3/5f1c-a.png", "5f1c-a.png"),
        ("\\\\server\\share\\a.png", "a.png"),
        ("COCO_train2014_000000000042.jpg", "000000000042.jpg"),
        ("100%25 sure?.png", "100%25 sure?.png"),
    ],
)
def test_names_of_other_machines(tmp_path: Path, stated: str, there: str) -> None:
    value = content()
    value["images"][0]["file_name"] = stated
    (tmp_path / "images" / there).parent.mkdir(parents=True)
    (tmp_path / "images" / there).touch()
    dataset, missing = locate_images(check_coco(value), tmp_path / "images", "labels.json")
    assert [image["file_name"] for image in dataset.images] == [there] and not missing
    assert find_image_root(check_coco(value), tmp_path / "labels.json") == tmp_path / "images"


def test_two_names_for_one_picture_are_refused(tmp_path: Path) -> None:
    value = content()
    value["images"] = [value["images"][0] | {"id": key, "file_name": f"/{key}/a.png"} for key in (1, 2)]
    (tmp_path / "a.png").touch()
    with pytest.raises(UnsegError, match=r'"/1/a\.png" and "/2/a\.png", but in .* there is only a\.png for both'):
        locate_images(check_coco(value), tmp_path, "labels.json")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"images":' + "[" * 100_000, '{"images": [{"id": ' + "9" * 5000 + "}]}"]
)
def test_hostile_json_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    for read in (read_coco, read_results):
        with pytest.raises(UnsegError, match=r"a\.json"):
            read(tmp_path / "a.json")


def result(**change: Any) -> dict[str, Any]:
    value = {"image_id": 1, "category_id": 1, "bbox": BOX, "segmentation": encode_mask(MASK), "score": 0.5} | change
    return {key: item for key, item in value.items() if item is not ...}


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": ...},
        {"bbox": None},
        {"bbox": [10, 5, 0, 20]},
        {"bbox": [0, 0, 0, 0]},
        {"segmentation": {"size": [TALL, WIDE], "counts": RUNS}},
        {"score": "0.5"},
        {},
    ],
)
def test_results_however_they_are_written(tmp_path: Path, change: dict[str, Any]) -> None:
    expected = result() | {"segmentation": encode_mask(MASK)}
    assert read_results(written(tmp_path, [result(**change)])) == [expected]


@pytest.mark.parametrize("box", [[10, 5, 0, 20], [1, 1, -4, 5], None])
def test_the_box_of_a_result_follows_from_its_polygons(tmp_path: Path, box: list[int] | None) -> None:
    (found,) = read_results(written(tmp_path, [result(segmentation=[SQUARE], bbox=box)]))
    assert found["bbox"] == BOX


def test_a_detection_without_area_stays_one(tmp_path: Path) -> None:
    """It is wrong and counts as such, where leaving it out would flatter."""
    (found,) = read_results(written(tmp_path, [result(segmentation=None, bbox=[3, 4, 0, 0])]))
    assert found["bbox"] == [3, 4, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, 'the "score" of result 2 is null, but a number is needed'),
        ({"score": float("nan")}, 'the "score" of result 2 is NaN, but a number is needed'),
        ({"score": "high"}, 'the "score" of result 2 is "high", but a number is needed'),
        ({"bbox": [1, 2, None, 4]}, 'the "bbox" of result 2 holds null, but four numbers'),
        ({"bbox": [1, 2, float("nan"), 4]}, 'the "bbox" of result 2 holds NaN, but four numbers'),
        ({"bbox": [1, 2, 3]}, 'result 2 .image 1.: its "bbox" has 3 values'),
        ({"bbox": "none"}, 'the "bbox" of result 2 is "none", but four numbers'),
        ({"segmentation": {"size": [TALL, WIDE], "counts": "~~~~"}}, "the mask of result 2 .image 1. is damaged"),
        ({"segmentation": {"size": [TALL, WIDE], "counts": "`n1"}}, "the mask of result 2 .image 1. is damaged"),
        ({"segmentation": {"size": [TALL, WIDE], "counts": [1, 2]}}, "result 2 .image 1.: .*do not sum to 40x60"),
        ({"segmentation": {"size": [TALL, WIDE], "counts": None}}, 'the "segmentation" of result 2 holds null'),
        ({"segmentation": {"counts": "`n1"}}, 'result 2 .image 1.: its run lengths have no "size"'),
        ({"segmentation": {"size": [TALL, WIDE]}}, 'result 2 lacks the key "counts" in its "segmentation"'),
        ({"segmentation": "text"}, 'the "segmentation" of result 2 is "text", but polygons'),
        ({"segmentation": None, "bbox": None}, 'result 2 has neither a "bbox" nor a "segmentation"'),
        ({"image_id": ...}, 'result 2 lacks the key "image_id"'),
        ({"image_id": None}, 'the "image_id" of result 2 is null, but a number or text'),
    ],
)
def test_results_that_would_be_scored_as_nothing_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = written(tmp_path, [result(), result(**deepcopy(change))])
    with pytest.raises(UnsegError, match=rf"labels\.json: .*{message}"):
        read_results(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" \n", "it is empty"),
        ("\ufeff", "it is empty"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer, not the file itself"),
        ("<!DOCTYPE html><html></html>", "it is a web page"),
        ("<annotation/>", "it is XML"),
        ('{"id": 1}\n{"id": 2}\n', "another value follows the first, in line 2"),
    ],
)
def test_files_in_the_place_of_json_are_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UnsegError, match=rf"a\.json is not JSON: {reason}"):
        read_coco(tmp_path / "a.json")


def test_a_list_that_occurs_twice_is_not_half_lost(tmp_path: Path) -> None:
    text = json.dumps(content())
    (tmp_path / "a.json").write_text(f'{text[:-1]}, "annotations": []}}')
    with pytest.raises(UnsegError, match=r'a\.json has the key "annotations" twice'):
        read_coco(tmp_path / "a.json")


def test_the_least_id_is_found(tmp_path: Path) -> None:
    value = content()
    value["images"][0]["id"] = value["annotations"][0]["image_id"] = least = -(1 << 63)
    index = open_coco(written(tmp_path, value))
    place = index.position_of(least)
    assert place == 0 and len(index.annotations(place)) == 1
