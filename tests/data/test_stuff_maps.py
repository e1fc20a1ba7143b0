"""Label maps on disk: found by the names of images, and read off the pictures of a panoptic file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.stuff_maps import FolderMaps, open_stuff
from unseg_d2.errors import UnsegError

IMAGES = [
    {"id": 1, "file_name": "val/a.jpg", "height": 2, "width": 3},
    {"id": 2, "file_name": "b.jpg", "height": 2, "width": 3},
]
MAP = np.array([[0, 1, 255], [7, 7, 0]], np.uint8)


def save(path: Path, numbers: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "maps/labels/a.png", MAP)
    save(tmp_path / "maps/labels/b.png", MAP.astype(np.uint16) * 257)
    (tmp_path / "maps/overlays").mkdir()
    return tmp_path / "maps"


def test_maps_are_called_as_images_or_as_the_ends_of_their_names(folder: Path, tmp_path: Path) -> None:
    maps = FolderMaps(folder / "labels", IMAGES)
    assert maps.of(IMAGES[0]).tolist() == [[0, 1, -1], [7, 7, 0]]
    assert maps.of(IMAGES[1]).tolist() == [[0, 257, -1], [1799, 1799, 0]]  # 65535 is none of 16 bit
    save(folder / "labels/val/a.png", np.zeros((2, 3), np.uint8))
    assert not maps.of(IMAGES[0]).any()  # the whole name comes first


def test_a_folder_that_evaluate_semantic_wrote_is_taken_as_it_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "gt.json").write_text(json.dumps({"images": IMAGES, "annotations": []}))
    stuff = open_stuff(folder, tmp_path / "gt.json", folder / "labels", IMAGES)
    assert np.array_equal(stuff.found(IMAGES[1]), stuff.known(IMAGES[1]))
    with pytest.raises(UnsegError, match=r"gt\.json has objects and no stuff; name a panoptic file .*--stuff-gt"):
        open_stuff(folder, tmp_path / "gt.json", None, IMAGES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "b.png").unlink(), r"1 of 2 images have no label map in .*b\.jpg, .* be b\.png"),
        (lambda folder: save(folder / "b.png", np.zeros((2, 3, 3), np.uint8)), "is a colour picture"),
        (lambda folder: save(folder / "b.png", np.zeros((4, 5), np.uint8)), r"5x4 pixels, but .* 3x2; .*WHOLE True"),
        (lambda folder: (folder / "b.png").write_bytes(b"nothing"), r"The label map .*b\.png cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_maps_is_one_sentence(folder: Path, change: Any, message: str) -> None:
    change(folder / "labels")
    with pytest.raises(UnsegError, match=message):
        FolderMaps(folder / "labels", IMAGES).of(IMAGES[1])


def test_two_images_never_share_a_map(folder: Path) -> None:
    twice = [IMAGES[0], IMAGES[0] | {"id": 3, "file_name": "train/a.jpg"}]
    with pytest.raises(UnsegError, match=r"would be the map of both val/a\.jpg and train/a\.jpg"):
        FolderMaps(folder / "labels", twice)
    with pytest.raises(UnsegError, match="There is no folder"):
        FolderMaps(folder / "nowhere", IMAGES)


def panoptic_file(folder: Path, **more: Any) -> Path:
    """Numbers 3 (a cat), 4 (sky) and 260 (sky too, as red 4 and green 1), 0 is void; of the first image only."""
    numbers = np.array([[3, 4, 0], [4, 260, 4]])
    save(folder / "panoptic/a.png", np.stack([numbers % 256, numbers // 256, numbers * 0], 2).astype(np.uint8))
    segments = [{"id": 3, "category_id": 1}, {"id": 4, "category_id": 9}, {"id": 260, "category_id": 9}]
    content = {
        "images": IMAGES,
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": 1, "name": "cat", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 0}],
    }
    (folder / "panoptic.json").write_text(json.dumps(content | more))
    return folder / "panoptic.json"


def test_a_panoptic_file_has_its_stuff_in_its_pictures(folder: Path, tmp_path: Path) -> None:
    stuff = open_stuff(folder, panoptic_file(tmp_path), None, IMAGES)
    assert stuff.known(IMAGES[0]).tolist() == [[-1, 9, -1], [9, 9, 9]]
    assert (stuff.known(IMAGES[1]) == -1).all() and stuff.known(IMAGES[1]).shape == (2, 3)
    Image.new("RGB", (9, 9)).save(tmp_path / "panoptic/a.png")
    with pytest.raises(UnsegError, match=r"a\.png has 9x9 pixels, but its image val/a\.jpg has 3x2"):
        stuff.known(IMAGES[0])


def test_what_a_panoptic_file_lacks_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    things = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 1}]
    with pytest.raises(UnsegError, match=r"has no category of stuff \(isthing 0\)"):
        open_stuff(folder, panoptic_file(tmp_path, categories=things), None, IMAGES)
    path = panoptic_file(tmp_path)
    (tmp_path / "panoptic/a.png").unlink()
    with pytest.raises(UnsegError, match=r"1 of the 1 pictures with masks are not in"):
        open_stuff(folder, path, None, IMAGES)
    (tmp_path / "panoptic").rmdir()
    with pytest.raises(UnsegError, match=r"lies in pictures, and there is no folder .*panoptic; put them there"):
        open_stuff(folder, path, None, IMAGES)
