"""Fixtures shared by all tests."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from card import pretended_card
from PIL import Image

from unseg_d2.cli import common
from unseg_d2.plugins import load_plugins
from unseg_d2.rle import encode_mask

REPOSITORY = Path(__file__).resolve().parents[1]
TEST_DATA = Path(os.environ.get("UNSEG_D2_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
GOLDEN = {"part": REPOSITORY / "tests" / "data" / "golden", "whole": TEST_DATA / "golden"}
"""Outputs of published code: the part that every clone has, and the whole set, which only some machines have."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of every generator, and of other kinds of parts, take those of somebody else."""
    parser.addoption("--unseg-plugin", action="append", default=[], help="module or file to import first; repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Register the parts of this package and of the named plug-ins before tests are collected."""
    load_plugins(config.getoption("--unseg-plugin"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real test images and golden data; tests that need it skip where it is absent."""
    if not TEST_DATA.is_dir():
        pytest.skip(f"no test data at {TEST_DATA}; set UNSEG_D2_TEST_DATA to its folder")
    return TEST_DATA


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Path:
    """A folder of golden data: a test that asks for it runs on each that there is."""
    return request.param


@pytest.fixture(scope="session")
def whole_golden(shared_data: Path) -> Path:
    """The whole set of golden data, for tests of what the part in the repository leaves out."""
    return shared_data / "golden"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that ask for ``golden`` on each folder, and those that ask for ``image`` too on each image in it."""
    if "golden" not in metafunc.fixturenames:
        return
    folders = {name: folder for name, folder in GOLDEN.items() if (folder / "features.npz").is_file()}
    if "image" not in metafunc.fixturenames:
        metafunc.parametrize("golden", folders.values(), ids=folders, indirect=True, scope="session")
        return
    cases = [
        pytest.param(folder, image, id=f"{name}-{image}")
        for name, folder in folders.items()
        for image in range(len(np.load(folder / "primaps.npz")["canon_K"]))
    ]
    metafunc.parametrize(("golden", "image"), cases, indirect=["golden"], scope="session")


@pytest.fixture
def label_sets(tmp_path: Path) -> Path:
    """A folder with images, a label set and results for them, and ``truth.json`` with other ids and names."""
    mask = np.zeros((30, 40), bool)
    mask[5:25, 10:30] = True
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / f"{number}.png")

    def content(ids: dict[int, str], **more) -> dict:
        segmentation = encode_mask(mask)
        images = [{"id": key, "file_name": name, "height": 30, "width": 40} for key, name in ids.items()]
        objects = [{"id": k, "image_id": k, "bbox": [10, 5, 20, 20], "segmentation": segmentation, **more} for k in ids]
        return {"images": images, "annotations": objects}

    labels = content({1: "1.png", 2: "2.png"}, score=0.5)
    truth = content({71: "val/1.png", 73: "val/3.png"})
    results = [{**item, "image_id": 71, "category_id": 1} for item in labels["annotations"]]
    for name, value in {"labels": labels, "truth": truth, "results": results}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    return tmp_path


@pytest.fixture
def card() -> Iterator[None]:
    """A card behind the name ``cuda``: a real one where there is one, or one that is pretended."""
    with contextlib.nullcontext() if torch.cuda.is_available() else pretended_card():
        yield


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    """Undo what a command does to its process, which ends after it elsewhere: its log and its hook of threads."""
    logger = logging.getLogger("unseg_d2")
    level, propagate, handlers, hook = logger.level, logger.propagate, list(logger.handlers), threading.excepthook
    yield
    logger.setLevel(level)
    logger.propagate = propagate
    logger.handlers[:] = handlers
    threading.excepthook = hook
    common._warn.cache_clear()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same random state."""
    torch.manual_seed(0)
