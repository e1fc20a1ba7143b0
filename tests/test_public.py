"""The names that the package promises: there, lazy, described, and clear about mistakes."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import unseg_d2

ROOT = Path(unseg_d2.__file__).parents[1]


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_heavy_is_imported_before_use() -> None:
    heavy = "{'torch', 'numpy', 'cv2', 'PIL', 'fvcore', 'yaml', 'scipy', 'pycocotools'}"
    assert run(f"import sys, unseg_d2; dir(unseg_d2); print({heavy} & {{*sys.modules}})") == "set()\n"


def test_errors_can_be_caught_before_anything_heavy() -> None:
    assert run("import sys; from unseg_d2 import UnsegError; print('torch' in sys.modules)") == "False\n"


def test_detectron2_is_imported_by_no_public_name() -> None:
    use = "import sys, unseg_d2\nfor name in unseg_d2.__all__: getattr(unseg_d2, name)\n"
    assert run(use + "print('detectron2' in sys.modules)") == "False\n"


@pytest.mark.parametrize("name", unseg_d2.__all__)
def test_every_name_is_there_and_described(name: str) -> None:
    value = getattr(unseg_d2, name)
    assert value.__name__ == name and inspect.getdoc(value)
    assert name in dir(unseg_d2)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(unseg_d2.__file__).read_text(encoding="utf-8"))
    block, _ = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"unseg_d2.{home}" for name, home in unseg_d2._HOMES.items()}
    assert sorted(seen) == sorted(unseg_d2.__all__)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'unseg_d2' has no attribute 'detector'"):
        unseg_d2.detector  # noqa: B018


def test_rooms_are_still_importable_by_name() -> None:
    code = "import unseg_d2.config as config; from unseg_d2 import losses; print(config.__name__, losses.__name__)"
    assert run(code) == "unseg_d2.config unseg_d2.losses\n"
