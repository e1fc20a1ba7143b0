"""Shares of COCO's labels: exact, nested, the same everywhere, with their categories; or as a list says."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from unseg_d2.cli import prepare_data
from unseg_d2.data.builtin import BUILTIN, LABEL_SHARES, datasets_root
from unseg_d2.data.coco import read_coco
from unseg_d2.data.prepare.coco_semi import prepare_coco_semi, split_images
from unseg_d2.errors import UnsegError

COUNT = 250
PARTS = ("images", "annotations", "categories")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training set of 250 images, each with one object, the categories 1 and 90 in turn."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    images = [{"id": 7 * n, "file_name": f"{7 * n:012d}.jpg", "height": 4, "width": 4} for n in range(COUNT)]
    annotations = [
        {"id": n, "image_id": 7 * n, "category_id": (1, 90)[n % 2], "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0}
        for n in range(COUNT)
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 90, "name": "brush"}]
    path = tmp_path / "coco/annotations/instances_train2017.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return tmp_path


def content(root: Path, percent: int) -> dict[str, Any]:
    return json.loads((root / f"coco/annotations/{percent}perc_instances_train2017.json").read_text())


def test_splits_are_exact_and_nested() -> None:
    splits = [split_images(range(118287), percent) for percent in (*LABEL_SHARES, 100)]
    assert [len(split) for split in splits] == [
        1182, 2365, 5914, 11828, 23657, 35486, 47314, 59143, 70972, 94629, 118287
    ]  # fmt: skip
    assert all(small < large for small, large in pairwise(splits))


def test_splits_are_the_same_everywhere_and_differ_by_seed() -> None:
    assert sorted(split_images(range(100), 5)) == [15, 44, 46, 87, 99]  # by sha256sum
    assert (
        split_images(reversed(range(100)), 5)
        == split_images(range(100), 5)
        != split_images(range(100), 5, split_seed=1)
    )
    assert len(split_images(range(10), 1)) == 1


def test_a_split_keeps_categories_and_annotations(root: Path) -> None:
    prepared = prepare_coco_semi(root, percent=10)
    assert prepared.path == datasets_root() / BUILTIN["coco_semi_10perc"].annotations
    split = content(root, 10)
    read = read_coco(prepared.path)
    assert (read.images, read.annotations, read.categories) == tuple(split[key] for key in PARTS)
    assert (prepared.images, prepared.objects, len(split["images"])) == (25, 25, 25)
    assert [category["id"] for category in split["categories"]] == [1, 90]
    assert {a["image_id"]: a["category_id"] for a in split["annotations"]} == {
        image["id"]: (1, 90)[image["id"] // 7 % 2] for image in split["images"]
    }
    assert (
        "25 of 250 images of COCO train2017: the first 10 % of the order of the SHA-256 of '0:IMAGE_ID'"
        in (split["info"]["protocol"])
    )
    assert "THE TRAINING SET HAS 250 IMAGES INSTEAD OF 118287" in split["info"]["protocol"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "7\n\n000000000014.jpg\ntrain2017/000000000021.jpg\n"),
        ("a.json", "[7, 14, 21]"),
        ("b.json", '{"images": [{"id": 7}, {"id": 14}, {"id": 21}]}'),
    ],
)
def test_a_list_replaces_the_rule(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    prepare_coco_semi(root, percent=1, split_list=root / name)
    assert [image["id"] for image in content(root, 1)["images"]] == [7, 14, 21]
    assert f"those that {name} names" in content(root, 1)["info"]["protocol"]


def test_mistakes(root: Path) -> None:
    with pytest.raises(UnsegError, match="it must be from 1 to 99"):
        prepare_coco_semi(root, percent=100)
    (root / "list.txt").write_text("7\n8\n")
    with pytest.raises(UnsegError, match=r"names 8, which the training set does not have; 1 of its 2"):
        prepare_coco_semi(root, percent=1, split_list=root / "list.txt")
    with pytest.raises(UnsegError, match="There is no list of images"):
        prepare_coco_semi(root, percent=1, split_list=root / "none.txt")
    with pytest.raises(UnsegError, match="--percent P is needed"):
        prepare_data.main(["coco_semi", "--root", str(root)])


def test_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare_data.main(["coco_semi", "--root", str(root), "--percent", "2"])
    assert "holds     5 images (0 without objects), 5 objects, 0 crowd regions" in capsys.readouterr().out
