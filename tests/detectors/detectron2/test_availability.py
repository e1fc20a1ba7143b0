"""What is said about each kind of broken installation; the broken ones are imitated in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[3]
ASK = "from unseg_d2.detectors.detectron2 import availability; print(*availability(), sep='|')"


def ask(path: Path, code: str = ASK) -> str:
    """Run code with a folder of fake packages first on the path."""
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{REPOSITORY}"}
    done = subprocess.run([sys.executable, "-c", code], cwd=path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fake(path: Path, **files: str) -> Path:
    (path / "detectron2").mkdir()
    for name, text in files.items():
        (path / "detectron2" / name.replace("__dot__", ".")).write_text(text)
    return path


def test_a_folder_of_that_name_is_not_an_installation(tmp_path: Path) -> None:
    code = (
        "import importlib.machinery, sys\n"
        "find = importlib.machinery.PathFinder.find_spec\n"
        f"here = [{str(tmp_path)!r}]\n"
        "only = lambda name, path=None, target=None: find(name, here if name == 'detectron2' else path)\n"
        "importlib.machinery.PathFinder.find_spec = only\n"
    )
    answer = ask(fake(tmp_path), code + ASK)
    assert answer.startswith("False|Detectron2 is not installed (tested: commit 02b5c4e2)")


def test_source_folder_without_compiled_part(tmp_path: Path) -> None:
    answer = ask(fake(tmp_path, __init____dot__py="__version__ = '0.6'"))
    assert answer.startswith("False|")
    assert "has no compiled part (detectron2._C)" in answer
    assert "pip install --no-build-isolation" in answer
    assert "https://detectron2.readthedocs.io/en/latest/tutorials/install.html" in answer


def test_compiled_for_another_torch(tmp_path: Path) -> None:
    answer = ask(fake(tmp_path, __init____dot__py="", _C__dot__so="not a library"))
    assert answer.startswith("False|")
    assert f"compiled for another torch or Python than the installed torch {torch.__version__}" in answer
    assert "_C.so" in answer


def test_incompatible_version_says_what_failed(tmp_path: Path) -> None:
    fake(tmp_path, __init____dot__py="__version__ = '0.1'", _C__dot__py="", engine__dot__py="import pkg_resource")
    answer = ask(tmp_path)
    assert answer.startswith("False|")
    assert "does not import (ModuleNotFoundError: No module named 'pkg_resource')" in answer
    assert "02b5c4e2" in answer


def test_importing_the_package_never_fails_and_names_the_reason(tmp_path: Path) -> None:
    code = (
        "import unseg_d2.detectors.detectron2 as extension\n"
        "try: extension.Detectron2Engine\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    answer = ask(fake(tmp_path, __init____dot__py=""), code)
    assert answer.startswith("UnsegError Detectron2 in ")


@pytest.mark.detectron2
def test_real_installation_is_usable() -> None:
    pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
    from unseg_d2.detectors.detectron2 import availability

    usable, reason = availability()
    assert usable
    assert torch.__version__ in reason
