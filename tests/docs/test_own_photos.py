"""docs/own_photos.md carried out: each of its three ways in, on small photos, with trainings of a few iterations."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from reproduce_data import DETECTOR, fill_zoo, lay_out
from reproduce_walk import Call, execute

from unseg_d2.cli import main
from unseg_d2.planning import measure, schedule

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_photos.md"
WAYS = ("Photos, and no time to read", "A folder at work, and tools that are already there", "A table to reproduce")


def calls_of(way: str) -> list[Call]:
    """The commands of a section, in order."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {way}\n")[1].split("\n## ")[0]
    lines = "".join(re.findall(r"^```bash\n(.*?)^```$", section, re.M | re.S)).splitlines()
    return [Call(tuple(shlex.split(line, comments=True))) for line in lines]


def ours(calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if call.program == "unseg-d2"]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_begins_with_the_installation_and_its_commands_are_understood(way: str) -> None:
    calls = calls_of(way)
    assert calls[0].words[:3] == ("pip", "install", "-e")
    for call in ours(calls):
        words = list(call.words[1:])
        assert callable(main.parser(words).parse_args(words).execute)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with photos of scikit-image below it; trainings are as short as can be."""
    from skimage import data

    for folder, names in {"photos": ("astronaut", "cat", "coffee"), "new_photos": ("rocket",)}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            picture = Image.fromarray(getattr(data, name)())
            picture.thumbnail((192, 192))
            picture.save(tmp_path / folder / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    for module, name in ((schedule, "MOST_PASSES"), (schedule, "FEWEST_ITERATIONS"), (measure, "ITERATIONS")):
        monkeypatch.setattr(module, name, 3)
    return tmp_path


def _corrected(export: str) -> str:
    """What CVAT exports after a person has moved one mask by a pixel."""
    root = ElementTree.fromstring(export)
    mask = next(root.iter("mask"))
    left, width = int(mask.get("left", 0)), int(mask.get("width", 0))
    is_at_the_edge = left + width == int(next(i for i in root.iter("image") if mask in list(i)).get("width", 0))
    mask.set("left", str(left - 1 if is_at_the_edge else left + 1))
    return ElementTree.tostring(root, encoding="unicode")


@pytest.mark.slow
def test_photos_and_no_time_to_read(photos: Path) -> None:
    for call in ours(calls_of(WAYS[0])):
        execute(call)
    planned = json.loads((photos / "runs/photos/schedule.json").read_text())
    assert planned["recipe"] == "configs/offline/detector_one_object.yaml" and planned["total"] < 2 * 3600
    assert "astronaut.jpg" in (photos / "runs/photos/gallery.html").read_text()
    assert {path.name for path in (photos / "out/overlays").iterdir()} == {"astronaut.jpg", "cat.jpg", "coffee.jpg"}


@pytest.mark.slow
def test_a_folder_at_work(photos: Path) -> None:
    """A person moves an outline in CVAT, and finds it in what the detector was trained on."""
    calls = ours(calls_of(WAYS[1]))
    at = [call.command for call in calls].index("import")
    for call in calls[:at]:
        execute(call)
    (photos / "corrected.xml").write_text(_corrected((photos / "cvat/annotations.xml").read_text()))
    for call in calls[at:]:
        execute(call)
    merged = json.loads((photos / "corrected.json").read_text())
    assert sum(annotation.get("corrected", False) for annotation in merged["annotations"]) == 1
    assert json.loads((photos / "tasks/predictions.json").read_text())["images"][0]["file_name"].endswith("rocket.jpg")
    assert (photos / "runs/work/model_final.pth").is_file()


@pytest.mark.slow
def test_a_table_to_reproduce(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a data set and weights of its own making, in place of those that need a network."""
    lay_out(photos / "datasets")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(photos / "datasets"))
    fill_zoo(photos / "zoo", {"cutler_cascade_final"})
    monkeypatch.setenv("UNSEG_D2_ZOO", str(photos / "zoo"))
    for call in ours(calls_of(WAYS[2])):
        is_scoring = call.words[1] == "evaluate"
        execute(Call((*call.words, *(f"{key}={value}" for key, value in DETECTOR.items()))) if is_scoring else call)
    table = (photos / "table.md").read_text()
    assert "again" in table and "CutLER" in table
