"""Benchmarks are run by hand, months apart: what they import from this package is there, and takes what they give."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unseg_d2.detectors.protocol import detectron2_availability

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks").rglob("*.py"))
PACKAGE = "unseg_d2"


def imported(tree: ast.AST) -> dict[str, Any]:
    """What a file imports from this package, also in functions, by the names that it gives to it.

    What needs Detectron2 is looked at where it is installed; the benchmarks say themselves that they need it.
    """
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            if "detectron2" in str(node.module).split(".") and not detectron2_availability()[0]:
                continue
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if not hasattr(module, alias.name):  # a module of a package
                    importlib.import_module(f"{module.__name__}.{alias.name}")
                found[alias.asname or alias.name] = getattr(module, alias.name)
    return found


def calls(tree: ast.AST, names: dict[str, Any]) -> Iterator[tuple[ast.Call, Any]]:
    """Calls of what was imported, and of attributes of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node, names[node.func.id]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id in names:
                yield node, getattr(names[owner.id], node.func.attr)


@pytest.mark.parametrize("name", FILES)
def test_what_a_benchmark_imports_is_there_and_takes_what_it_gives(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    for node, called in calls(tree, imported(tree)):
        is_open = any(isinstance(item, ast.Starred) for item in node.args) or any(not k.arg for k in node.keywords)
        signature = inspect.signature(called)
        if not is_open:
            try:
                signature.bind(*node.args, **{str(keyword.arg): None for keyword in node.keywords})
            except TypeError as error:
                pytest.fail(f"{name}, line {node.lineno}: {error}")


def test_the_pipeline_of_all_generators_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from unseg_d2.config import load_cfg

    spec = importlib.util.spec_from_file_location("bench_generators", ROOT / "benchmarks/generators.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_generators", module)
    spec.loader.exec_module(module)
    timers: dict[str, Any] = {}
    cfg = load_cfg(None, ["FEATURES.NAME", "descriptors", "FEATURES.IMAGE_SIZE", "64", "REFINE.NAME", "guided"])
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:40, 30:50] = (200, 40, 40)
    assert module.timed_pipeline(cfg, timers)([image])[0]
    assert all(timers[name].seconds > 0 for name in ("features", "generator", "refiner"))
