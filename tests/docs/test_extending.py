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

from unseg_d2.detectors.protocol import detectron2_availability

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.M | re.S)
ENGINES = ["builtin", pytest.param("detectron2", marks=pytest.mark.detectron2)]
CREATE = re.compile(r"# (\w+\.py)\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An empty folder with two photos of a red square on green, their ground truth, and the walk-through's files."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "photos").mkdir()
    images, objects = [], []
    for number in range(2):
        photo = np.full((96, 128, 3), (40, 140, 60), np.uint8)
        left = 32 + 24 * number
        photo[24:72, left : left + 48] = (200, 30, 40)
        Image.fromarray(photo).save(folder / "photos" / f"{number}.png")
        corners = [left, 24, left + 48, 24, left + 48, 72, left, 72]
        images.append({"id": number + 5, "file_name": f"{number}.png", "height": 96, "width": 128})
        about = {"id": number + 1, "image_id": number + 5, "category_id": 1, "iscrowd": 0, "area": 48 * 48}
        objects.append(about | {"bbox": [left, 24, 48, 48], "segmentation": [corners]})
    truth = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "square"}]}
    (folder / "truth.json").write_text(json.dumps(truth))
    for language, code in BLOCKS:
        if language == "python":
            name, text = CREATE.match(code)[1], code[code.index("\n") + 1 :]
            (folder / name).write_text(text)
    return folder


def start(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {
        "PATH": binaries,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CLONE": str(ROOT),
    }
    return subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True)


def run(folder: Path, command: str) -> str:
    done = start(folder, command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands() -> dict[str, str]:
    """The page's commands, by what they do."""
    names = ("test the generator", "test the losses", "test the evaluator")
    names += ("make masks", "score masks", "train", "evaluate")
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


def test_the_shared_tests_take_the_evaluator(folder):
    output = run(folder, commands()["test the evaluator"])
    assert int(re.search(r"(\d+) passed", output)[1]) >= 20  # boxes and masks


def test_the_shared_tests_take_the_rest(folder):
    """Every part of the table on the page has its tests, and the examples pass them."""
    files = re.findall(r"`(tests/\w+/\w+\.py)` \|$", (ROOT / "docs" / "extending.md").read_text(), re.M)
    assert len(set(files)) == 6 and all((ROOT / name).is_file() for name in files)
    rest = {"tests/features/test_backends.py": "colour", "tests/depth/test_sources.py": "haze"}
    rest["tests/refine/test_refiners.py"] = "median"
    paths, names = " ".join(f"{ROOT}/{name}" for name in rest), " or ".join(rest.values())
    plugins = " ".join(f"--unseg-plugin {name}.py" for name in rest.values())
    output = run(folder, f'python -m pytest -q {paths} -k "{names}" {plugins}')
    assert int(re.search(r"(\d+) passed", output)[1]) >= 20


def test_the_commands_use_all_three(masks):
    labels = json.loads((masks / "labels.json").read_text())
    assert [image["file_name"] for image in labels["images"]] == ["0.png", "1.png"]
    for annotation, left in zip(labels["annotations"], (32, 56), strict=True):
        assert annotation["bbox"] == pytest.approx([left, 24, 48, 48], abs=3)
    assert "colour/8" in json.dumps(labels["info"])
    assert labels["info"]["settings"]["MASKS"]["ISLANDS"] == {"MAX_COSINE": 0.6}
    assert (masks / "gallery.html").is_file()


def test_the_masks_are_scored_by_the_evaluator(folder, masks):
    printed = run(folder, commands()["score masks"]).splitlines()
    titles, boxes, mask = (line.split() for line in printed[-3:])
    assert titles[-3:] == ["Precision", "Recall", "F1"] and boxes[-3:] == mask[-3:] == ["100.00"] * 3
    assert dict(zip(titles, boxes[1:]))["AP50"] == "100.00"


@pytest.fixture(scope="module", params=ENGINES)
def trained(request, folder, masks) -> Path:
    """The folder of the page's training, by each engine that there is."""
    if request.param == "detectron2" and not detectron2_availability()[0]:
        pytest.skip(detectron2_availability()[1])
    command, output = commands()["train"], f"run_{request.param}"
    run(folder, f"{command.strip()} ENGINE={request.param}".replace("--output run", f"--output {output}"))
    return folder / output


def test_a_detector_is_trained_with_the_losses(trained):
    recipe = yaml.safe_load((trained / "config.yaml").read_text())
    assert recipe["LOSSES"] == {
        "CLASSIFICATION": "focal",
        "MASK": "dice",
        "DICE": {"SMOOTH": 2.0},
        "FOCAL": {"GAMMA": 2.0},
    }
    assert (trained / "model_final.pth").is_file()
    assert json.loads((trained / "plugins.json").read_text())["plugins"].keys() == {"my_losses"}


def test_the_evaluator_works_during_and_after_the_training(trained):
    lines = [json.loads(line) for line in (trained / "metrics.json").read_text().splitlines()]
    during = [line for line in lines if "bbox/F1" in line]
    assert during and all(f"{kind}/{name}" in during[0] for kind in ("bbox", "segm") for name in ("Precision", "AP50"))
    (figures,) = trained.glob("evaluation/*/figures.json")
    assert {"AP", "F1", "Precision", "Recall"} <= json.loads(figures.read_text())["segm"].keys()


def test_the_recipe_beside_the_checkpoint_remembers_them(folder, trained):
    command = commands()["evaluate"].replace("run/", f"{trained.name}/").replace("scores", f"scores_{trained.name}")
    printed = run(folder, command)
    titles, boxes, masks = (line.split() for line in printed.splitlines()[:3])
    assert [title for title in ("Precision", "Recall", "F1", "CorLoc") if title in titles] and "AP" not in titles
    assert "F1: results with a score of 0.0 or more, IoU 0.5 or more." in printed and "box" in boxes and "mask" in masks
    figures = json.loads((folder / f"scores_{trained.name}" / "figures.json").read_text())
    assert figures["evaluators"] == ["f1", "corloc"]
    assert figures["benchmarks"][0]["figures"].keys() == {"bbox", "segm"}


def test_other_code_is_noticed(folder, masks):
    """The label set that is there is not resumed with a generator that has changed since."""
    changed = commands()["make masks"].splitlines()[0]
    text = (folder / "islands.py").read_text()
    (folder / "islands.py").write_text(f"{text}# another version\n")
    try:
        done = start(folder, changed)
    finally:
        (folder / "islands.py").write_text(text)
    assert (
        done.returncode == 2 and "the code of the plug-in islands has changed. Choose another --output" in done.stderr
    )


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
