"""Class numbers: from the categories of a file, checked against the network and between data sets."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from PIL import Image

from unseg_d2.config import get_cfg
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.classes import OF_THE_DATA, check_records, check_same, read_classes, write_classes
from unseg_d2.data.image_list import ImageList
from unseg_d2.errors import UnsegError

NAMES = {90: "brush", 1: "person", 17: "cat"}


def write_set(folder: Path, categories: dict[int, str] = NAMES, used: tuple[int, ...] = (17, 90, 1)) -> str:
    """One image with an annotation of each of the categories in ``used``."""
    Image.new("RGB", (8, 6)).save(folder / "a.png")
    annotations = [
        {"id": number, "image_id": 1, "category_id": category, "bbox": [number, 0, 1, 2]}
        for number, category in enumerate(used, start=1)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}],
        "annotations": annotations,
        "categories": [{"id": key, "name": name} for key, name in categories.items()],
    }
    (folder / "labels.json").write_text(json.dumps(content))
    return str(folder / "labels.json")


def test_numbers_follow_the_ids(tmp_path: Path) -> None:
    records = load_dataset(write_set(tmp_path), get_cfg(), num_classes=3)
    assert [a["category_id"] for a in records[0]["annotations"]] == [1, 2, 0]
    assert [(c["id"], c["name"]) for c in records.categories] == [(1, "person"), (17, "cat"), (90, "brush")]
    assert records.category_ids() == [1, 17, 90]
    assert pickle.loads(pickle.dumps(records)).categories == records.categories  # on the way to other processes


def test_one_class_takes_all_categories(tmp_path: Path) -> None:
    records = load_dataset(write_set(tmp_path), get_cfg())
    assert [a["category_id"] for a in records[0]["annotations"]] == [0, 0, 0]
    assert records.categories == [] and records.category_ids() == 1


@pytest.mark.parametrize("num_classes", [2, 4, 80])
def test_another_number_of_classes_is_refused(num_classes: int, tmp_path: Path) -> None:
    name = write_set(tmp_path)
    with pytest.raises(UnsegError, match=rf"has 3 categories, but MODEL\.ROI_HEADS\.NUM_CLASSES is {num_classes}; set"):
        load_dataset(name, get_cfg(), num_classes)


def test_a_category_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    name = write_set(tmp_path, {1: "person", 17: "cat"})
    with pytest.raises(UnsegError, match="has annotations of category 90, which it does not list"):
        load_dataset(name, get_cfg(), num_classes=2)


def test_a_class_number_that_the_network_does_not_have_is_refused() -> None:
    records = [{"file_name": "a.png", "annotations": [{"category_id": 0}, {"category_id": 45}]}]
    check_records(records, 80)
    with pytest.raises(UnsegError, match=r"a\.png has the class number 45, but .* run from 0 to 2"):
        check_records(records, 3)


def test_the_same_number_means_the_same_class() -> None:
    first, second = ([{"id": n, "name": name} for n, name in enumerate(names)] for names in (["cat", "dog"], ["dog"]))
    check_same(first, [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}], ("a", "b"))  # ids may differ
    with pytest.raises(UnsegError, match="Class 0 is 'cat' in a, but 'dog' in b"):
        check_same(first, second, ("a", "b"))
    with pytest.raises(UnsegError, match="a has 1 classes, but b has 2"):
        check_same(second, [*second, *first[:1]], ("a", "b"))


def test_classes_are_kept_beside_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model_final.pth").write_bytes(b"")
    assert read_classes(tmp_path / "model_final.pth") == []
    write_classes(tmp_path, [{"id": 3, "name": "cat"}])
    assert read_classes(tmp_path / "model_final.pth") == [{"id": 3, "name": "cat"}]
    monkeypatch.chdir(tmp_path)
    assert read_classes("zoo:cutler_cascade_final") == []
    (tmp_path / "classes.json").write_text("[1]")
    with pytest.raises(UnsegError, match="is not a list of categories"):
        read_classes(tmp_path / "model_final.pth")


def test_the_classes_of_a_data_set_may_be_others_than_the_detectors(tmp_path: Path) -> None:
    records = load_dataset(write_set(tmp_path), get_cfg(), num_classes=OF_THE_DATA)
    assert [a["category_id"] for a in records[0]["annotations"]] == [1, 2, 0] and len(records.categories) == 3
    for same in (records, records.images(), records[:1], ImageList(records), ImageList(ImageList(records))):
        assert same.category_ids() == 1  # what is found has numbers that count from there
    assert ImageList(load_dataset(write_set(tmp_path), get_cfg(), num_classes=3)).category_ids() == [1, 17, 90]
