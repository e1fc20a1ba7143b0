"""Plug-ins: modules of somebody else's that register parts, by name, by file and by entry point."""

from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from pathlib import Path

import pytest

from unseg_d2 import plugins, settings
from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.masks import MASK_GENERATORS, build_generator

MODULE = """
from dataclasses import dataclass
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.settings import Settings, setting

@dataclass(frozen=True)
class NothingSettings(Settings):
    patience: float = setting(0.5, "how long it looks", low=0, high=1)

@MASK_GENERATORS.register(settings=NothingSettings)
class Nothing:
    def __init__(self, settings):
        self.settings = settings

    def __call__(self, features):
        return []
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a plug-in in it; what it registers is gone after the test."""
    (tmp_path / "toy_plugin.py").write_text(MODULE)
    (tmp_path / "broken_plugin.py").write_text("x = 1 / 0\n")
    plugins.load_plugins()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "SECTIONS", known := dict(settings.SECTIONS))
    monkeypatch.setattr("unseg_d2.config.load.SECTIONS", known)
    monkeypatch.setattr(MASK_GENERATORS, "_entries", dict(MASK_GENERATORS._entries))
    yield tmp_path
    sys.modules.pop("toy_plugin", None)
    plugins._load_named.cache_clear()


@pytest.mark.parametrize("name", ["toy_plugin", "toy_plugin.py"])
def test_a_plugin_brings_its_settings_along(folder, name):
    cfg = load_cfg(None, ["MASKS.GENERATOR", "nothing", "MASKS.NOTHING.PATIENCE", "0.25"], plugins=[name])
    assert build_generator(cfg).settings.patience == 0.25
    assert cfg.PLUGINS == [str(folder / name) if name.endswith(".py") else name]
    with pytest.raises(UnsegError, match=r"MASKS.NOTHING.PATIENCE in the overrides is 2, but must be a number in"):
        load_cfg(None, ["MASKS.NOTHING.PATIENCE", "2"], plugins=[name])


def test_recipes_name_plugins_and_remember_them(folder):
    (folder / "recipe.yaml").write_text(
        textwrap.dedent("""
        PLUGINS: [toy_plugin]
        MASKS:
          GENERATOR: nothing
          NOTHING:
            PATIENCE: 1.5
        """)
    )
    with pytest.raises(UnsegError, match=r"MASKS.NOTHING.PATIENCE in .*recipe.yaml, line 6 is 1.5, but must be"):
        load_cfg("recipe.yaml")
    (folder / "right.yaml").write_text("_BASE_: recipe.yaml\nMASKS: {NOTHING: {PATIENCE: 0.1}}\n")
    cfg = load_cfg("right.yaml")
    (folder / "dumped.yaml").write_text(cfg.dump())
    assert load_cfg("dumped.yaml") == cfg and cfg.PLUGINS == ["toy_plugin"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere_plugin", "There is no plug-in nowhere_plugin"),
        ("nowhere.py", "There is no plug-in .*nowhere.py"),
        ("broken_plugin", "The plug-in broken_plugin cannot be imported: ZeroDivisionError: division by zero"),
        ("broken_plugin.py", "The plug-in .*broken_plugin.py cannot be imported: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(folder, name, message):
    with pytest.raises(UnsegError, match=message):
        load_cfg(None, plugins=[name])


def test_an_unknown_name_says_how_plugins_are_imported(folder):
    with pytest.raises(UnsegError, match=r"must be one of .*A plug-in has to be imported: --import MODULE"):
        build_generator(load_cfg(None, ["MASKS.GENERATOR", "nothing"]))


def test_installed_packages_declare_entry_points(folder, monkeypatch):
    point = importlib.metadata.EntryPoint("toy", "toy_plugin", plugins.GROUP)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == plugins.GROUP else [])
    plugins._load_standard.cache_clear()
    assert "NOTHING" in load_cfg().MASKS

    broken = importlib.metadata.EntryPoint("broken", "broken_plugin", plugins.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken])
    plugins._load_standard.cache_clear()
    with pytest.raises(UnsegError, match=r"The plug-in broken \(broken_plugin\) cannot be imported: ZeroDivisionError"):
        load_cfg()
    monkeypatch.undo()
    plugins._load_standard.cache_clear()


def test_a_module_that_is_imported_already_is_not_run_again(folder):
    cfg = load_cfg(None, plugins=["toy_plugin"])
    module = sys.modules["toy_plugin"]
    load_cfg(None, plugins=["toy_plugin.py"])
    assert sys.modules["toy_plugin"] is module and settings.SECTIONS["MASKS.NOTHING"] is module.NothingSettings
    assert "NOTHING" in cfg.MASKS
