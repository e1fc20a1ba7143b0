"""The three data sets in their real layouts, on tiny files, and what is said when something is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from semantic_files import numbers, picture, save

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.semantic.class_maps import COCOSTUFF_IDS, cityscapes_map, cocostuff_map, potsdam_map
from unseg_d2.semantic.datasets import load_semantic_set

CFG = load_cfg(None, [])


def first(labels: np.ndarray, count: int) -> list[int]:
    return labels.ravel()[:count].tolist()


def test_cityscapes(cityscapes: Path) -> None:
    data = load_semantic_set("cityscapes27_val", CFG)
    assert [image.name for image in data.images] == ["bern/bern_000001_000019", "ulm/ulm_000000_000019"]
    assert len(data.classes) == 27 and data.classes[4] == "building" and data.classes[26] == "bicycle"
    image, labels = data.read(0)
    assert image.shape == (6, 8, 3) and image.max() == 9
    assert first(labels, 7) == [255, 255, 0, 4, 19, 26, 255]  # void, parking of the ego car, road, building, car, bike


def test_cocostuff(cocostuff: Path) -> None:
    data = load_semantic_set("cocostuff27_val", CFG)
    assert [image.name for image in data.images] == ["000000000139", "000000000285"]
    assert len(data.classes) == 27
    _, labels = data.read(1)
    names = [data.classes[index] for index in first(labels, 7)]
    assert names == ["person", "vehicle", "outdoor", "floor", "sky", "water", "solid"]
    assert labels.ravel()[7] == 255


def test_potsdam(potsdam: Path) -> None:
    data = load_semantic_set("potsdam3_train", CFG)
    assert [image.name for image in data.images] == ["3", "11"]
    assert [image.name for image in load_semantic_set("potsdam3_val", CFG).images] == ["11"]
    image, labels = data.read(0)
    assert image.shape == (6, 8, 3) and (image == 1).all()
    assert first(labels, 7) == [0, 1, 2, 2, 0, 1, 255]


def test_every_number_of_cocostuff_has_one_class() -> None:
    classes = cocostuff_map()
    assert (classes[:182] < 27).all() and (classes[182:] == 255).all()
    sizes = np.bincount(classes[:182], minlength=27)
    assert sizes.sum() == 182 and sizes.min() == 1
    assert (sizes[:12].sum(), sizes[12:].sum()) == (91, 91)  # things, stuff
    assert list(COCOSTUFF_IDS)[8:10] == ["outdoor", "person"]


def test_class_maps_leave_out_what_is_no_class() -> None:
    assert np.flatnonzero(cityscapes_map() < 255).tolist() == list(range(7, 34))
    assert np.flatnonzero(potsdam_map() < 255).tolist() == list(range(6))


def test_scenes_have_their_classes(tmp_path: Path) -> None:
    options = ["SYNTHETIC.ROOT", str(tmp_path), "SYNTHETIC.NUM_VAL", "2", "SYNTHETIC.SIZE", "(64, 64)"]
    data = load_semantic_set("synthetic_val", load_cfg(None, options))
    assert data.classes == ("sky", "floor", "sphere", "box", "cylinder", "cone")
    assert data.read(1)[1].max() <= 5


def test_a_set_of_scenes_without_classes_is_to_be_made_again(tmp_path: Path) -> None:
    cfg = load_cfg(None, ["SYNTHETIC.ROOT", str(tmp_path), "SYNTHETIC.NUM_VAL", "1", "SYNTHETIC.SIZE", "(64, 64)"])
    labels = load_semantic_set("synthetic_val", cfg).images[0].labels
    labels.unlink()
    labels.parent.rmdir()
    with pytest.raises(UnsegError, match="made before scenes had classes; delete it"):
        load_semantic_set("synthetic_val", cfg)


def test_a_folder_with_and_without_labels(tmp_path: Path) -> None:
    save(tmp_path / "images/a/one.jpg", picture())
    save(tmp_path / "labels/a/one.png", numbers([0, 3, 4]))
    cfg = load_cfg(None, ["SEMANTIC.NUM_CLASSES", "9", "SEMANTIC.NUM_LABELS", "4"])
    data = load_semantic_set(f"{tmp_path}/images::{tmp_path}/labels", cfg)
    assert data.labelled and len(data.classes) == 4
    assert first(data.read(0)[1], 3) == [0, 3, 255]
    alone = load_semantic_set(f"{tmp_path}/images", cfg)
    assert not alone.labelled and alone.read(0)[1] is None


@pytest.mark.parametrize(
    ("spec", "path", "source"),
    [
        ("cityscapes27_train", "cityscapes/leftImg8bit/train", "www.cityscapes-dataset.com"),
        ("cocostuff27_val", "cocostuff/curated/val2017/Coco164kFull_Stuff_Coarse_7.txt", "COCOStuff164kCurated.tar.gz"),
        ("potsdam3_train", "potsdam/labelled_train.txt", "Potsdam.tar.gz"),
    ],
)
def test_a_set_that_is_not_on_disk_says_where_it_belongs_and_comes_from(
    root: Path, spec: str, path: str, source: str
) -> None:
    with pytest.raises(UnsegError, match=f"needs {root}/{path}, which is not there; get it from .*{source}"):
        load_semantic_set(spec, CFG)


def test_missing_labels_are_no_class_but_an_error(potsdam: Path) -> None:
    (potsdam / "potsdam/gt/3.mat").unlink()
    with pytest.raises(UnsegError, match=r"1 files of 2 images are missing, the first is .*gt/3\.mat"):
        load_semantic_set("potsdam3_train", CFG)


def test_labels_of_another_size_than_the_image(cityscapes: Path) -> None:
    path = cityscapes / "cityscapes/gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png"
    save(path, np.zeros((6, 7), dtype=np.uint8))
    with pytest.raises(UnsegError, match=r"labelIds\.png have 7x6 pixels, but their image .* has 8x6 pixels"):
        load_semantic_set("cityscapes27_val", CFG).read(1)


def test_other_mistakes_in_one_line(potsdam: Path, tmp_path: Path) -> None:
    savemat(potsdam / "potsdam/imgs/3.mat", {"picture": picture()})
    with pytest.raises(UnsegError, match="has no field 'img'"):
        load_semantic_set("potsdam3_train", CFG).read(0)
    (potsdam / "potsdam/gt/11.mat").write_bytes(b"damaged")
    with pytest.raises(UnsegError, match="cannot be read as a"):
        load_semantic_set("potsdam3_train", CFG).read(1)
    with pytest.raises(UnsegError, match="Did you mean 'potsdam3_train'"):
        load_semantic_set("potsdam_train", CFG)
    save(tmp_path / "colour/images/a.png", picture())
    save(tmp_path / "colour/labels/a.png", picture())
    with pytest.raises(UnsegError, match="colour picture, but labels are one number per pixel"):
        load_semantic_set(f"{tmp_path}/colour/images::{tmp_path}/colour/labels", CFG).read(0)
    with pytest.raises(UnsegError, match="There is no folder"):
        load_semantic_set(f"{tmp_path}/colour/images::{tmp_path}/nowhere", CFG)
    with pytest.raises(UnsegError, match="at most 255 classes, not 500"):
        load_semantic_set(f"{tmp_path}/colour/images", load_cfg(None, ["SEMANTIC.NUM_CLASSES", "500"]))
