"""No key is without effect in silence: code reads it, or it is declared so and a recipe that sets it is told."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest

from unseg_d2.config import load, load_cfg
from unseg_d2.plugins import load_plugins
from unseg_d2.settings import SECTIONS, Setting, Settings, all_settings, setting

PACKAGE = Path(__file__).resolve().parents[2] / "unseg_d2"
load_plugins()
KEYS = dict(all_settings())


class Words:
    """What the modules of a folder read, off their source: nothing is imported."""

    def __init__(self, root: Path) -> None:
        self.modules: list[set[str]] = []
        for path in sorted(root.rglob("*.py")):
            if path.parent.name != "sections" and path.name != "settings.py":  # which only declare
                self.modules.append(set(self._of(ast.parse(path.read_text(encoding="utf-8")))))

    @staticmethod
    def _of(tree: ast.Module):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                yield node.attr
            elif isinstance(node, ast.keyword) and node.arg:
                yield node.arg
            elif isinstance(node, ast.Name):
                yield node.id
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                yield node.value

    def reads(self, key: str) -> bool:
        """Whether a module names the key and its section: in capitals, or as a field and the class of the settings."""
        section, _, name = key.rpartition(".")
        last, field = section.rpartition(".")[2], name.lower()
        settings = {known.__name__ for known in SECTIONS[section].__mro__ if known not in (Settings, object)}
        return any(
            key in words
            or (name in words and (not last or last in words))
            or (field in words and settings & words)
            or ("_" in field and field in words and "settings" in words)  # a word of its own
            for words in self.modules
        )


def is_refused(known: Setting) -> bool:
    """Whether every other value is refused, by all engines or by one; the other one is not ours."""
    return bool(known.builtin) or len(known.choices) == 1


@pytest.fixture(scope="module")
def words() -> Words:
    return Words(PACKAGE)


def test_every_key_is_read_refused_or_declared(words):
    silent = {
        key for key, known in KEYS.items() if not words.reads(key) and not is_refused(known) and not known.no_effect
    }
    assert not silent


def test_what_is_declared_is_not_read():
    declared = {key for key, known in KEYS.items() if known.no_effect}
    assert declared == {"INPUT.MASK_FORMAT", "INPUT.CROP.TYPE", "INPUT.CROP.SIZE", "PSEUDO.MAX_PIXELS"}
    source = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert not {key for key in declared if f".{'.'.join(key.split('.')[-2:])}" in source}  # cfg.INPUT.CROP.SIZE


def test_the_test_sees_a_key_that_nothing_reads(tmp_path):
    (tmp_path / "work.py").write_text("def f(cfg):\n    return cfg.SOLVER.BASE_LR\n")
    seen = {key for key in KEYS if Words(tmp_path).reads(key)}
    assert seen == {"SOLVER.BASE_LR"}


@pytest.fixture(autouse=True)
def fresh() -> None:
    load._report.cache_clear()


def test_a_recipe_is_told_once(tmp_path, caplog):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("INPUT:\n  MASK_FORMAT: bitmask\n  CROP:\n    SIZE: [0.5, 0.5]\n")
    with caplog.at_level(logging.WARNING, logger="unseg_d2"):
        for _ in range(2):
            load_cfg(recipe, ["INPUT.CROP.TYPE", "absolute"])
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"INPUT.CROP.SIZE in {recipe}, line 4 is [0.5, 0.5], which has no effect: images are not cropped.",
        "INPUT.CROP.TYPE in the overrides is 'absolute', which has no effect: images are not cropped.",
    ]


def test_published_values_are_not_mentioned(caplog):
    with caplog.at_level(logging.WARNING, logger="unseg_d2"):
        load_cfg("configs/cutler/cascade_mask_rcnn_R_50_FPN.yaml")
        load_cfg(None, ["INPUT.MASK_FORMAT", "polygon", "INPUT.CROP.SIZE", "[0.9, 0.9]"])
    assert not caplog.records


def test_what_is_ignored():
    known = setting(1, "a number", no_effect="it is so", harmless=(2,)).metadata["setting"]
    assert known.is_ignored(3) and not known.is_ignored(1) and not known.is_ignored(2)
    assert not setting(1, "a number").metadata["setting"].is_ignored(3)
