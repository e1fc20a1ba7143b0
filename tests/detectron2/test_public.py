"""The names of the extension: there, lazy, described, and clear about a Detectron2 that is missing."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import unseg_d2.detectron2 as door
from unseg_d2.errors import UnsegError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.detectron2
@pytest.mark.parametrize("name", door.__all__)
def test_every_name_is_there_and_described(name: str) -> None:
    pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
    value = getattr(door, name)
    assert value.__name__ == name and inspect.getdoc(value)
    assert name in dir(door)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(door.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"unseg_d2.{home}" for name, home in door._MODULES.items()}
    assert sorted([*seen, "availability"]) == sorted(door.__all__)


def test_without_detectron2_the_import_succeeds_and_a_name_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "availability", lambda: (False, "Detectron2 is not installed here."))
    with pytest.raises(UnsegError, match="Detectron2 is not installed here"):
        door.add_unseg_config  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'add_config'"):
        door.add_config  # noqa: B018


@pytest.mark.detectron2
def test_importing_it_registers_nothing() -> None:
    pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
    code = """
import detectron2.modeling as modeling
from detectron2.data import DatasetCatalog
def registered():
    tables = modeling.META_ARCH_REGISTRY, modeling.ROI_HEADS_REGISTRY, modeling.ROI_MASK_HEAD_REGISTRY
    return [name for table in tables for name, _ in table], DatasetCatalog.list()
before = registered()
import unseg_d2.detectron2
print(registered() == before)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
