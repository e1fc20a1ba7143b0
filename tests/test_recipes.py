"""Recipes by name: a file on disk, else the one that comes with the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.recipes import RECIPES, find_recipe

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "configs/saliency/two_tricks.yaml"


def test_a_shipped_recipe_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe(NAME) == find_recipe(NAME.removeprefix("configs/")) == REPOSITORY / NAME == RECIPES.parent / NAME


def test_a_shipped_lazy_config_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "configs/lazy/cuts3d_cascade_mask_rcnn_R_50_FPN.py"
    assert find_recipe(name) == REPOSITORY / name


def test_a_file_on_disk_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = Path(NAME)
    own.parent.mkdir(parents=True)
    own.write_text("SEED: 7\n")
    assert load_cfg(NAME).SEED == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "configs/saliency/two_trick.yaml",
            r"There is no .* Did you mean 'configs/saliency/two_tricks.yaml'\?",
        ),
        ("cutler/mask_rcnn.yaml", r"Did you mean 'configs/cutler/mask_rcnn_R_50_FPN.yaml'\?"),
        ("/nowhere/else", "There is no configuration file /nowhere/else.$"),
    ],
)
def test_a_wrong_name_is_one_sentence(name, message):
    with pytest.raises(UnsegError, match=message):
        find_recipe(name)


def test_what_is_built_brings_its_recipes(tmp_path):
    """As a wheel holds it: every recipe below the package, found from a folder without a clone."""
    pytest.importorskip("setuptools")
    build = [
        "setup.py",
        "-q",
        "egg_info",
        "--egg-base",
        str(tmp_path),
        "build_py",
        "--build-lib",
        str(tmp_path / "lib"),
    ]
    subprocess.run([sys.executable, *build], cwd=REPOSITORY, check=True, capture_output=True)
    built = tmp_path / "lib" / "unseg_d2" / "configs"
    shipped = {path.relative_to(built) for path in built.rglob("*.*") if path.parent.name != "__pycache__"}
    assert shipped == {p.relative_to(RECIPES) for p in RECIPES.rglob("*.*") if p.suffix in {".yaml", ".py"}}
    code = f"from unseg_d2.recipes import find_recipe; print(find_recipe('{NAME}'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "lib")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(found.stdout.strip()) == built / "saliency" / "two_tricks.yaml"
