"""docs/api.md says what the docstrings say, and names all that is public."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import unseg_d2

SPEC = importlib.util.spec_from_file_location("api_page", Path(__file__).with_name("api_page.py"))
api_page = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(api_page)


def test_the_page_is_up_to_date() -> None:
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.render(), "run: python tests/docs/api_page.py"


def test_every_public_name_has_its_place_once() -> None:
    shown = [name for members in api_page.SECTIONS.values() for name in members]
    assert sorted(shown) == sorted(unseg_d2.__all__)


def test_what_functions_return_is_described_too() -> None:
    assert {"CocoDataset", "PseudoMasks"} <= api_page.returned_classes().keys()
