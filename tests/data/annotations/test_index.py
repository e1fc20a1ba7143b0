"""Random files: one image at a time, an index finds what a reader finds that holds the whole file in dictionaries."""

from __future__ import annotations

import json
import os
import pickle
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whole_file import to_dataset

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.parse import parse
from unseg_d2.data.annotations.structs import Content
from unseg_d2.data.coco import encode_mask, open_coco, read_coco
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_confidence

TALL, WIDE = 20, 30
CONFIDENCE = encode_confidence(np.full((2, 3), 0.5))


def mask_of(rng: random.Random, height: int, width: int) -> dict[str, Any]:
    mask = np.zeros((height, width), bool)
    top, left = rng.randrange(height - 4), rng.randrange(width - 4)
    mask[top : top + 4, left : left + 3] = True
    return encode_mask(mask)


def segmentation_of(rng: random.Random, height: int, width: int) -> Any:
    x, y = rng.randrange(10), rng.randrange(10)
    square = [x, y, x + 5, y, x + 5, y + 5]
    return rng.choice(
        [
            mask_of(rng, height, width),
            mask_of(rng, height, width),
            mask_of(rng, height, width),
            {"counts": mask_of(rng, height, width)["counts"]},
            {"size": [height, width], "counts": [3, 4, height * width - 7]},
            [square],
            [square, [1, 2, 3, 4]],
            [[1, 2, 3]],
            square,
            [],
            None,
            {"size": [height, width], "counts": ""},
        ]
    )


def random_content(rng: random.Random) -> dict[str, Any]:
    """A file as it is mostly, with some of what files of others have."""
    odd = rng.random()  # share of unusual values in this file
    key = rng.choice([int, int, int, str, float])

    def choose(usual: Any, *others: Any) -> Any:
        return rng.choice(others) if rng.random() < 0.3 * odd else usual

    images, annotations = [], []
    for number in rng.sample(range(1, 50), rng.randrange(1, 8)):
        sides = choose({"height": TALL, "width": WIDE}, {"height": WIDE, "width": TALL}, {}, {"height": 0, "width": 3})
        name = choose(f"{number}.png", "same.png", "a\\b.png", "a/b.png", "caf\u00e9.png", "cafe\u0301.png")
        images.append({"id": key(number), "file_name": name} | sides | choose({}, {"done": 1}))
        if rng.random() < 0.05 * odd:
            images.append(images[-1] | choose({}, {"id": -1}, {"file_name": "other.png"}))
    for number in range(rng.randrange(12)):
        owner = rng.choice(images)["id"]
        annotation = {
            "id": choose(number, None, 0, "x"),
            "image_id": choose(owner, str(owner), 99, owner),
            "category_id": choose(1, None, "thing", "2", 7, 1.0),
            "bbox": choose([1, 2, 3, 4], [0, 0, 0, 0], [], None, [1, 2, -3, 4], [1, 2, 3]),
            "area": choose(12, None, -1, float("nan"), 1e5, "many"),
            "iscrowd": choose(0, 1, True, None),
            "segmentation": segmentation_of(rng, TALL, WIDE),
        }
        annotation |= choose({}, {"score": 0.5}, {"score": 3}, {"confidence": CONFIDENCE}, {"confidence": 0.3})
        annotations.append(annotation | choose({}, {"corrected": True}))
        if rng.random() < 0.1 * odd:
            annotations.append(deepcopy(annotation) | {"image_id": rng.choice(images)["id"]})
    if rng.random() < 0.5:
        annotations.sort(key=lambda annotation: str(annotation["image_id"]))
    lists = [("images", images), ("annotations", annotations), ("categories", [{"id": 1, "name": "thing"}, {"id": 2}])]
    rng.shuffle(lists)
    return {"info": {"year": 2000}} | dict(lists)


def outcome(read: Any) -> Any:
    try:
        return read()
    except UnsegError as error:
        return str(error)


def by_image(dataset: Any) -> list[tuple[Any, Any]]:
    found: dict[Any, list[Any]] = {image["id"]: [] for image in dataset.images}
    for annotation in dataset.annotations:
        found[annotation["image_id"]].append(annotation)
    return [(image, found[image["id"]]) for image in dataset.images]


@pytest.mark.parametrize("seed", range(8))
def test_an_index_finds_what_a_reader_of_the_whole_file_finds(tmp_path: Path, seed: int) -> None:
    rng, path, read, refused = random.Random(seed), tmp_path / "labels.json", 0, 0
    for number in range(150):
        value = random_content(rng)
        path.write_text(json.dumps(value, indent=rng.choice([None, 1])))
        os.utime(path, (number, number))
        counts = Counts()
        expected = outcome(lambda: to_dataset(parse(path.read_bytes(), Content, str(path)), counts))  # noqa: B023
        found = outcome(lambda: read_coco(path))
        if isinstance(expected, str):
            assert isinstance(found, str), (expected, value)
            refused += 1
            continue
        read += 1
        assert found == expected, value
        index = pickle.loads(pickle.dumps(open_coco(path)))
        assert list(index) == by_image(expected)
        assert index.counts().tolist() == [len(annotations) for _, annotations in by_image(expected)]
        assert list(index.ids()) == [image["id"] for image in expected.images]
        assert all(index.position_of(image["id"]) == place for place, image in enumerate(expected.images))
        assert index.position_of(1234) is None and index.position_of("1234") is None
        sizes = [(image.get("height", -1), image.get("width", -1)) for image in expected.images]
        assert [tuple(size) for size in index.sizes().tolist()] == sizes
        assert index.present == {annotation["category_id"] for annotation in expected.annotations}
    assert read > 40 and refused > 20


def written(path: Path, count: int = 3) -> Path:
    rng = random.Random(0)
    masks = [mask_of(rng, TALL, WIDE) for _ in range(count)]
    value = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": TALL, "width": WIDE} for n in range(1, count + 1)],
        "annotations": [{"id": n, "image_id": n, "segmentation": mask} for n, mask in enumerate(masks, 1)],
    }
    path.write_text(json.dumps(value))
    return path


def test_run_lengths_are_checked_when_a_mask_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.json")
    value = json.loads(path.read_text())
    value["annotations"][1] |= {"bbox": [1, 1, 2, 2], "area": 4}
    value["annotations"][1]["segmentation"]["counts"] = "`n1"
    path.write_text(json.dumps(value))
    index = open_coco(path)
    assert len(index.annotations(0)) == 1
    with pytest.raises(UnsegError, match=r'labels\.json: annotation 2 of "2\.png" is damaged: its run lengths'):
        index.annotations(1)


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.json")
    index = open_coco(path)
    other = written(tmp_path / "other.json", 4)
    expected = index.annotations(0)
    os.replace(other, path)
    assert index.annotations(0) == expected  # of the file that was opened, which is gone from the folder only
    with pytest.raises(UnsegError, match=r"labels\.json has changed since it was opened; start the command again"):
        pickle.loads(pickle.dumps(index)).annotations(0)
    index = open_coco(path)
    path.write_text(path.read_text() + " ")
    with pytest.raises(UnsegError, match="has changed since it was opened"):
        index.annotations(0)


def test_images_by_their_first_mask(tmp_path: Path) -> None:
    """In the order of the annotations, not of the images; boxes without a mask do not count."""
    mask = {"bbox": [0, 0, 2, 2], "segmentation": encode_mask(np.ones((4, 6), bool))}
    found = [(7, {"bbox": [0, 0, 1, 1]}), ("b", mask), (5, mask), (7, mask), (5, mask), (9, {"bbox": [0, 0, 1, 1]})]
    content = {
        "images": [{"id": key, "file_name": f"{key}.png", "height": 4, "width": 6} for key in (5, 7, "b", 9)],
        "annotations": [{"image_id": key} | item for key, item in found],
    }
    (tmp_path / "labels.json").write_text(json.dumps(content))
    assert open_coco(tmp_path / "labels.json").by_first_mask().tolist() == [2, 0, 1]


def test_a_file_that_is_cut_off_is_not_parsed_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "labels.json")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1)[:-300])
    monkeypatch.setattr("unseg_d2.data.coco.parse", None)
    lines = len(path.read_text().split("\n"))
    with pytest.raises(
        UnsegError, match=rf'is not JSON: its list "annotations" does not end, .* in line {lines}; copy'
    ):
        open_coco(path)
