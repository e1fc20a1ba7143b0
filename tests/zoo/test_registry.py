"""The registry is complete and true to itself; the page of the zoo is made from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features.weights import ARCHITECTURES
from unseg_d2.zoo.registry import KINDS, entries, find
from unseg_d2.zoo.table import markdown

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_made_from_the_registry():
    page = (ROOT / "model_zoo" / "README.md").read_text(encoding="utf-8")
    assert page.endswith(markdown(entries().values())), "run: unseg-d2 zoo list --markdown, and put it below the text"


@pytest.mark.parametrize("entry", entries().values(), ids=lambda entry: entry.name)
def test_entry(entry):
    assert entry.kind in KINDS and (entry.recipe is not None) == (entry.kind in ("detector", "saliency"))
    assert entry.supervision and entry.pretraining and entry.licence["name"] and entry.page.startswith("https://")
    assert entry.address is None or entry.address.startswith("https://")
    assert entry.file is not None or entry.address is None
    assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert entry.arch is None or entry.arch in ARCHITECTURES
    assert bool(entry.published()) == bool(entry.system)
    for row in entry.published():
        assert row.system.supervision == entry.supervision


@pytest.mark.parametrize("entry", [e for e in entries().values() if e.kind == "detector"], ids=lambda e: e.name)
def test_recipe_of_a_detector(entry):
    heads = load_cfg(entry.recipe_file()).MODEL.ROI_HEADS.NAME
    if entry.file:
        assert ("Cascade" in heads) == ("Cascade" in entry.layout)


def test_names_and_files_are_unique():
    files = [entry.file for entry in entries().values() if entry.file]
    assert len(set(files)) == len(files)
    assert find("zoo:dino_vits8") is find("dino_vits8") is entries()["dino_vits8"]


@pytest.mark.parametrize("name", ["dino_resnet50", "found", "s2d_zero_shot"])
def test_what_is_no_detector_has_no_recipe_of_one(name):
    with pytest.raises(UnsegError, match=f"zoo:{name} is not a detector"):
        find(name).recipe_file()
    with pytest.raises(UnsegError, match="zoo:cuts3d is not a saliency head"):
        find("cuts3d").recipe_file("saliency")
