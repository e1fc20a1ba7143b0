"""docs/extending.md carried out in an empty folder: files written, commands run; nothing of the package is touched."""

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
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.M | re.S)
CREATE = re.compile(r"# (\w+\.py)\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An empty folder with two photos of a red square on green, and the walk-through's files."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "photos").mkdir()
    for number in range(2):
        photo = np.full((96, 128, 3), (40, 140, 60), np.uint8)
        photo[24:72, 32 + 24 * number : 80 + 24 * number] = (200, 30, 40)
        Image.fromarray(photo).save(folder / "photos" / f"{number}.png")
    for language, code in BLOCKS:
        if language == "python":
            name, text = CREATE.match(code)[1], code[code.index("\n") + 1 :]
            (folder / name).write_text(text)
    return folder


def run(folder: Path, command: str) -> str:
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {
        "PATH": binaries,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CLONE": str(ROOT),
    }
    done = subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands() -> dict[str, str]:
    """The page's commands: those of the two shared tests, those that make masks, and the training."""
    names = ("test the generator", "test the losses", "make masks", "train")
    return dict(zip(names, (code for language, code in BLOCKS if language == "bash"), strict=True))


@pytest.fixture(scope="module")
def masks(folder) -> Path:
    """The label set that the page's commands make."""
    run(folder, commands()["make masks"])
    return folder / "masks"


def test_the_shared_tests_take_the_generator(folder):
    output = run(folder, commands()["test the generator"])
    passed = int(re.search(r"(\d+) passed", output)[1])
    assert passed >= 20  # default and parity, all tests of every generator


def test_the_shared_tests_take_the_losses(folder):
    output = run(folder, commands()["test the losses"])
    assert int(re.search(r"(\d+) passed", output)[1]) >= 20  # all tests of every loss, for two of them


def test_the_commands_use_all_three(masks):
    labels = json.loads((masks / "labels.json").read_text())
    assert [image["file_name"] for image in labels["images"]] == ["0.png", "1.png"]
    for annotation, left in zip(labels["annotations"], (32, 56), strict=True):
        assert annotation["bbox"] == pytest.approx([left, 24, 48, 48], abs=3)
    assert "colour/8" in json.dumps(labels["info"])
    assert labels["info"]["settings"]["MASKS"]["ISLANDS"] == {"MAX_COSINE": 0.6}
    assert (masks / "gallery.html").is_file()


def test_a_detector_is_trained_with_the_losses(folder, masks):
    run(folder, commands()["train"])
    recipe = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert recipe["LOSSES"] == {
        "CLASSIFICATION": "focal",
        "MASK": "dice",
        "DICE": {"SMOOTH": 2.0},
        "FOCAL": {"GAMMA": 2.0},
    }
    assert (folder / "run" / "model_final.pth").is_file()


def test_python_finds_the_same(folder):
    printed = run(folder, "python look.py")
    assert re.search(r"^2\d\d\d pixels, score 0\.\d+$", printed, re.M)  # 48 x 48


def test_code_on_the_page_is_in_the_style_of_the_project(folder):
    ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if ruff is None:
        pytest.skip("ruff is not installed")
    files = " ".join(match[1] for _, code in BLOCKS if (match := CREATE.match(code)))
    run(folder, f"cp {ROOT}/pyproject.toml . && {ruff} check {files} && {ruff} format --check {files}")


def test_the_page_names_files_that_exist():
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:unseg_d2|tests|docs)/[\w/]+\.\w+)`", text))
    named |= {f"docs/{name}" for name in re.findall(r"\]\((\w+\.md)\)", text)}
    assert named and not {name for name in named if not (ROOT / name).is_file()}
