"""docs/extending.md carried out on a copy of the project: files written, lines added, commands run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.M | re.S)

INSERT = re.compile(r"# insert into (\S+), before (.+)\n")
APPEND = re.compile(r"# append to (\S+)\n")
CREATE = re.compile(r"# (unseg_d2/\S+\.py)\n")


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the project, two photos of a red square on green, and the walk-through's code in its places."""
    project = tmp_path_factory.mktemp("project")
    for folder in ("unseg_d2", "tests", "tools"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", project)
    (project / "photos").mkdir()
    for number in range(2):
        photo = np.full((96, 128, 3), (40, 140, 60), np.uint8)
        photo[24:72, 32 + 24 * number : 80 + 24 * number] = (200, 30, 40)
        Image.fromarray(photo).save(project / "photos" / f"{number}.png")
    for language, code in BLOCKS:
        if language == "python":
            put(project, code)
    return project


def put(project: Path, code: str) -> None:
    """Do with a block of code what its first line says."""
    first = code[: code.index("\n") + 1]
    if match := INSERT.fullmatch(first):
        path = project / match[1]
        head, marker, tail = path.read_text().partition(f"    {match[2]}\n")
        assert marker, f"{match[2]} is not in {match[1]}"
        path.write_text(head + code[len(first) :] + marker + tail)
    elif match := APPEND.fullmatch(first):
        with (project / match[1]).open("a") as file:
            file.write(code[len(first) :])
    else:
        path = project / CREATE.fullmatch(first)[1]
        assert not path.exists(), f"{path.name} is part of the project by now: the page needs another example"
        path.write_text(code[len(first) :])


def run(project: Path, command: str) -> str:
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": binaries, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-ec", command], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands() -> tuple[str, str]:
    tests, work = (code for language, code in BLOCKS if language == "bash")
    return tests, work


def test_the_shared_tests_find_the_generator(copy):
    output = run(copy, commands()[0])
    passed = int(re.search(r"(\d+) passed", output)[1])
    assert passed >= 20  # default and parity, all tests of every generator


def test_the_commands_use_all_three(copy):
    run(copy, commands()[1])
    labels = json.loads((copy / "masks" / "labels.json").read_text())
    assert [image["file_name"] for image in labels["images"]] == ["0.png", "1.png"]
    for annotation, left in zip(labels["annotations"], (32, 56), strict=True):
        assert annotation["bbox"] == pytest.approx([left, 24, 48, 48], abs=3)
    assert "colour/8" in json.dumps(labels["info"])
    assert (copy / "masks" / "gallery.html").is_file()


def test_code_on_the_page_is_in_the_style_of_the_project(copy):
    ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if ruff is None:
        pytest.skip("ruff is not installed")
    files = [match[1] for _, code in BLOCKS if (match := CREATE.match(code))]
    assert len(files) == 3
    run(copy, f"{ruff} check {' '.join(files)} && {ruff} format --check {' '.join(files)}")


def test_the_page_names_files_that_exist():
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:unseg_d2|tests|docs)/[\w/]+\.\w+)`", text)) - {"tests/masks/test_islands.py"}
    named |= {f"docs/{name}" for name in re.findall(r"\]\((\w+\.md)\)", text)}
    assert named and not {name for name in named if not (ROOT / name).is_file()}
