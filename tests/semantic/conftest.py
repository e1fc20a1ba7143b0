"""Tiny data sets in the layout of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from semantic_files import SIZE, numbers, picture, save


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


@pytest.fixture
def cityscapes(root: Path) -> Path:
    for city, stem in (("ulm", "ulm_000000_000019"), ("bern", "bern_000001_000019")):
        save(root / f"cityscapes/leftImg8bit/val/{city}/{stem}_leftImg8bit.png", picture(9))
        save(root / f"cityscapes/gtFine/val/{city}/{stem}_gtFine_labelIds.png", numbers([0, 6, 7, 11, 26, 33]))
        save(root / f"cityscapes/gtFine/val/{city}/{stem}_gtFine_color.png", picture())
    return root


@pytest.fixture
def cocostuff(root: Path) -> Path:
    listed = root / "cocostuff/curated/val2017/Coco164kFull_Stuff_Coarse_7.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("000000000139\n000000000285\n")
    for name in ("000000000139", "000000000285", "000000000632"):  # the last is not on the list
        save(root / f"cocostuff/images/val2017/{name}.jpg", picture(200))
        save(root / f"cocostuff/annotations/val2017/{name}.png", numbers([0, 8, 14, 100, 105, 178, 181]))
    return root


@pytest.fixture
def potsdam(root: Path) -> Path:
    for kind in ("imgs", "gt"):
        (root / "potsdam" / kind).mkdir(parents=True)
    image = np.dstack([picture(1), np.full(SIZE, 77, dtype=np.uint8)])  # the fourth channel is infrared
    for name in ("3", "11"):
        savemat(root / f"potsdam/imgs/{name}.mat", {"img": image})
        savemat(root / f"potsdam/gt/{name}.mat", {"gt": numbers([0, 1, 2, 3, 4, 5, 6])})
    (root / "potsdam/labelled_train.txt").write_text("3\n11\n")
    (root / "potsdam/labelled_test.txt").write_text("11\n")
    return root
