"""Panoptic files: the masks are the colours of pictures in the folder beside the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unseg_d2.config import load_cfg
from unseg_d2.data.annotations.panoptic import segment_numbers
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.coco import open_coco, read_coco
from unseg_d2.data.sample import Augmentation, load_sample
from unseg_d2.errors import UnsegError
from unseg_d2.rle import decode_mask, encode_mask
from unseg_d2.training.score_masks import score_masks

HEIGHT, WIDTH = 24, 32
THING, SKY, CROWD, OTHER = 0x010203, 7, 0xFEDCBA, 300  # ids of segments
CATEGORIES = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 0}]


def colours(numbers: np.ndarray) -> np.ndarray:
    """The definition: id = red + 256 green + 256 * 256 blue."""
    picture = np.zeros((*numbers.shape, 3), np.uint8)
    for row, column in np.ndindex(numbers.shape):
        number = int(numbers[row, column])
        picture[row, column] = number % 256, number // 256 % 256, number // 65536
    return picture


@pytest.fixture
def panoptic(tmp_path: Path) -> dict[str, np.ndarray]:
    """Two pictures with two segments of things each, beside ``panoptic.json``; returns their numbers."""
    first = np.full((HEIGHT, WIDTH), SKY)
    first[4:10, 3:12], first[15:20, 20:30], first[0, 0] = THING, CROWD, 0
    second = np.zeros((HEIGHT, WIDTH), int)
    second[2:8, 2:8], second[12:16, 4:30] = OTHER, THING
    numbers = {"a": first, "b": second}
    (tmp_path / "images").mkdir()
    (tmp_path / "panoptic").mkdir()
    images, annotations = [], []
    for key, (name, of_image) in enumerate(numbers.items(), 1):
        Image.new("RGB", (WIDTH, HEIGHT), (90, 80, 70)).save(tmp_path / "images" / f"{name}.jpg")
        Image.fromarray(colours(of_image)).save(tmp_path / "panoptic" / f"{name}.png")
        images.append({"id": key, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH})
        segments = []
        for number in np.unique(of_image[of_image > 0]).tolist():
            rows, columns = np.nonzero(of_image == number)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            segments.append({"id": number, "category_id": 9 if number == SKY else 1, "area": len(rows)})
            segments[-1] |= {"bbox": [int(side) for side in box], "iscrowd": int(number == CROWD)}
        annotations.append({"image_id": key, "file_name": f"{name}.png", "segments_info": segments})
    write(tmp_path, {"images": images, "annotations": annotations, "categories": CATEGORIES})
    return numbers


def write(folder: Path, value: Any) -> None:
    (folder / "panoptic.json").write_text(json.dumps(value))


def changed(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "panoptic.json").read_text())


def test_masks_are_the_pixels_of_their_colour(
    panoptic: dict[str, np.ndarray], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        found = read_coco(tmp_path / "panoptic.json").annotations
    expected = [("a", THING, 0), ("a", CROWD, 1), ("b", OTHER, 0), ("b", THING, 0)]
    assert [(a["image_id"], a["iscrowd"]) for a in found] == [
        ("ab".index(name) + 1, crowd) for name, _, crowd in expected
    ]
    for annotation, (name, number, _) in zip(found, expected):
        mask = panoptic[name] == number
        assert np.array_equal(decode_mask(annotation["segmentation"], HEIGHT, WIDTH), mask)
        assert annotation["area"] == mask.sum()
    assert "1 segments of stuff (isthing 0) are not among the objects" in caplog.text


def test_they_are_trained_on_and_scored_with(panoptic: dict[str, np.ndarray], tmp_path: Path) -> None:
    options = ["INPUT.MIN_SIZE_TRAIN", "(0,)", "INPUT.RANDOM_FLIP", "none"]
    cfg = load_cfg("configs/quickstart.yaml", options)
    augmentation, rng = Augmentation.from_cfg(cfg), np.random.default_rng(0)
    samples = [
        load_sample(r, rng=rng, augmentation=augmentation) for r in load_dataset(str(tmp_path / "panoptic.json"), cfg)
    ]
    assert [np.flatnonzero(mask).tolist() for sample in samples for mask in sample.masks.numpy()] == [
        np.flatnonzero(panoptic[name] == number).tolist() for name, number in (("a", THING), ("b", OTHER), ("b", THING))
    ]
    results = [
        {
            "image_id": "ab".index(name) + 1,
            "category_id": 1,
            "score": 0.9,
            "segmentation": encode_mask(panoptic[name] == number),
        }
        for name, number in (("a", THING), ("b", OTHER), ("b", THING))
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    scores = score_masks(tmp_path / "results.json", tmp_path / "panoptic.json")
    assert scores.metrics["segm"]["AP"] == pytest.approx(100)
    assert scores.counts["objects"] == 3 and scores.counts["crowds"] == 1


def test_boxes_sizes_and_areas_may_be_missing(panoptic: dict[str, np.ndarray], tmp_path: Path) -> None:
    value = changed(tmp_path)
    for image in value["images"]:
        del image["height"], image["width"]
    for annotation in value["annotations"]:
        for segment in annotation["segments_info"]:
            del segment["bbox"], segment["area"]
            segment["id"] = str(segment["id"])
    write(tmp_path, value)
    found = read_coco(tmp_path / "panoptic.json").annotations
    assert [annotation["bbox"] for annotation in found] == [[3, 4, 9, 6], [20, 15, 10, 5], [2, 2, 6, 6], [4, 12, 26, 4]]
    assert [annotation["area"] for annotation in found] == [54, 50, 36, 104]


def test_a_picture_is_read_once_and_when_it_is_needed(panoptic: dict[str, np.ndarray], tmp_path: Path) -> None:
    index = open_coco(tmp_path / "panoptic.json")
    (tmp_path / "panoptic" / "a.png").write_bytes(b"damaged")
    assert len(index.annotations(1, index.image(1))) == 2
    with pytest.raises(UnsegError, match=r"The masks in .*a\.png cannot be read"):
        index.annotations(0, index.image(0))


def test_without_the_folder_they_are_boxes(
    panoptic: dict[str, np.ndarray], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "panoptic").rename(tmp_path / "elsewhere")
    with caplog.at_level("INFO"):
        found = read_coco(tmp_path / "panoptic.json").annotations
    assert len(found) == 4 and not any("segmentation" in annotation for annotation in found)
    assert f"read as boxes; their masks lie in pictures, and there is no folder {tmp_path / 'panoptic'}" in caplog.text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "b.png").unlink(),
            r"1 of the 2 pictures with masks are not in .*panoptic, such as b\.png",
        ),
        (lambda folder: Image.new("L", (WIDTH, HEIGHT)).save(folder / "b.png"), "no PNG picture in colour of 8 bit"),
        (
            lambda folder: Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "b.png"),
            r"b\.png has no pixel of segment 300",
        ),
        (
            lambda folder: Image.fromarray(colours(np.diag([OTHER, THING]))).save(folder / "b.png"),
            "mask of size 2x2 does not fit",
        ),
    ],
)
def test_damaged_pictures_are_one_sentence(
    panoptic: dict[str, np.ndarray], tmp_path: Path, damage: Any, message: str
) -> None:
    damage(tmp_path / "panoptic")
    with pytest.raises(UnsegError, match=message):
        read_coco(tmp_path / "panoptic.json")


@pytest.mark.parametrize(("key", "message"), [("file_name", '"file_name" of the picture'), ("id", '"id" of a segment')])
def test_what_names_no_mask_is_refused(panoptic: dict[str, np.ndarray], tmp_path: Path, key: str, message: str) -> None:
    value = changed(tmp_path)
    del (value["annotations"][0] if key == "file_name" else value["annotations"][0]["segments_info"][1])[key]
    write(tmp_path, value)
    with pytest.raises(UnsegError, match=f"panoptic.json: the annotation of image 1 lacks the {message}"):
        read_coco(tmp_path / "panoptic.json")


def test_numbers_of_a_picture(tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 255], [256, 65535, 65536], [16777215, 70000, 12]])
    Image.fromarray(colours(numbers)).save(tmp_path / "a.png")
    assert segment_numbers(tmp_path / "a.png").tolist() == numbers.tolist()
