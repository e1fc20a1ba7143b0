"""The reason given for each kind of broken installation; all are imitated in one new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[3]
CASES = {
    "a folder of that name": {},
    "not compiled": {"__init__.py": "__version__ = '0.6'"},
    "for another torch": {"__init__.py": "", "_C.so": "this is no library"},
    "too old": {"__init__.py": "__version__ = '0.1'", "_C.py": "", "engine.py": "import pkg_resource"},
}
ASK = """
import importlib, json, sys
answers = {}
here = sys.path[:]
for case in sys.argv[1:]:
    # Besides what was loaded before, only the imitation is on the path.
    sys.path[:] = [case] if case.endswith("name") else [case, *here]
    sys.path_importer_cache.clear()
    for name in [name for name in sys.modules if name.startswith(("detectron2", "unseg_d2.detect"))]:
        del sys.modules[name]
    sys.path.append(REPOSITORY)
    package = importlib.import_module("unseg_d2.detectron2")
    try:
        package.add_unseg_config
        error = ""
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
    answers[case] = [*package.availability(), error]
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, str, str]]:
    """Per case: usable, reason, and the error for a name that needs Detectron2."""
    root = tmp_path_factory.mktemp("installations")
    for case, files in CASES.items():
        (root / case / "detectron2").mkdir(parents=True)
        for name, text in files.items():
            (root / case / "detectron2" / name).write_text(text)
    code = f"import fvcore.common.config, torch, torchvision\nREPOSITORY = {str(REPOSITORY)!r}\n{ASK}"
    command = [sys.executable, "-c", code, *(str(root / case) for case in CASES)]
    done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {Path(case).name: tuple(answer) for case, answer in json.loads(done.stdout).items()}


def test_a_folder_of_that_name_is_no_installation(answers: dict) -> None:
    usable, reason, _ = answers["a folder of that name"]
    assert not usable
    assert reason.startswith(
        "Detectron2 is not installed; build it with 'pip install --no-build-isolation git+https://"
    )
    assert "detectron2@02b5c4e2" in reason


def test_source_folder_without_compiled_part(answers: dict) -> None:
    usable, reason, _ = answers["not compiled"]
    assert not usable
    assert "has no compiled part (detectron2._C)" in reason
    assert "pip install --no-build-isolation" in reason
    assert "https://detectron2.readthedocs.io/en/latest/tutorials/install.html" in reason


def test_compiled_for_another_torch(answers: dict) -> None:
    usable, reason, _ = answers["for another torch"]
    assert not usable
    assert f"compiled for another torch or Python than the installed torch {torch.__version__}" in reason
    assert "_C.so" in reason


def test_incompatible_version_says_what_failed(answers: dict) -> None:
    usable, reason, _ = answers["too old"]
    assert not usable
    assert "cannot be imported (ModuleNotFoundError: No module named 'pkg_resource')" in reason
    assert "02b5c4e2" in reason


def test_names_that_need_detectron2_raise_the_reason(answers: dict) -> None:
    for _, reason, error in answers.values():
        assert error == f"UnsegError: {reason}"


@pytest.mark.detectron2
def test_real_installation_is_usable() -> None:
    pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
    from unseg_d2.detectron2 import availability

    usable, reason = availability()
    assert usable
    assert torch.__version__ in reason
