"""Every key of the configuration that a page, a recipe's comment or a message names is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from unseg_d2.plugins import load_plugins
from unseg_d2.settings import SECTIONS, all_settings

ROOT = Path(__file__).resolve().parents[2]
KEY = re.compile(r"(?<![\w./])((?:[A-Z][A-Z0-9_]+\.)+[A-Z][A-Z0-9_]*)(?![\w(])")
FILES = [
    path
    for pattern in ("*.md", "docs/**/*.md", "datasets/*.md", "model_zoo/*.md", "configs/**/*.yaml", "unseg_d2/**/*.py")
    for path in sorted(ROOT.glob(pattern))
]
OTHERS = {f"MASKS.ISLANDS{key}" for key in ("", ".MAX_COSINE")}
OTHERS |= {"LOSSES.DICE", "LOSSES.DICE.SMOOTH", "LOSSES.FOCAL", "LOSSES.FOCAL.GAMMA"}
OTHERS |= {"TEST.F1", "TEST.F1.MIN_SCORE"} | {f"{kind}.NAME" for kind in ("MASKS", "DEPTH", "LOSSES", "TEST")}
"""Those of the plug-ins that extending.md writes."""


def known() -> set[str]:
    load_plugins()
    keys = {key for key, _ in all_settings()} | set(SECTIONS)
    return keys | {key.rpartition(".")[0] for key in keys} | OTHERS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_named_keys_exist(path):
    text = path.read_text(encoding="utf-8")
    sections = {section.partition(".")[0] for section in SECTIONS if section}
    named = {key for key in KEY.findall(text) if key.partition(".")[0] in sections}
    assert named <= known()
