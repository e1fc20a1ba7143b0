"""What commands say that they read, beside what they are seen to read."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yacs.config
from PIL import Image

from unseg_d2 import config, manifest
from unseg_d2.cli import common, main, reads
from unseg_d2.config import get_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.settings import SECTIONS, all_settings

SMALL = "FEATURES.NAME descriptors FEATURES.IMAGE_SIZE 96 MASKS.GENERATOR tokencut"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos, their depth, and a data set of them; it is the current folder."""
    for name in ("photos", "depth"):
        (tmp_path / name).mkdir()
    pixels = np.full((64, 96, 3), 90, np.uint8)
    pixels[16:48, 24:64] = (230, 30, 30)
    Image.fromarray(pixels).save(tmp_path / "photos/1.png")
    np.save(tmp_path / "depth/1.npy", np.where(pixels[..., 0] > 90, 1.0, 4.0))
    box = [24, 16, 40, 32]
    truth = {
        "images": [{"id": 1, "file_name": "1.png", "height": 64, "width": 96}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 1280, "segmentation": []}],
        "categories": [{"id": 1, "name": "object"}],
    }
    truth["annotations"][0]["segmentation"] = [[24, 16, 64, 16, 64, 48, 24, 48]]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    monkeypatch.chdir(tmp_path)
    return tmp_path


CONFIG, LOADING, MANIFEST = config.__path__[0], str(Path(yacs.config.__file__).parent), manifest.__file__
DEPTH = "DEPTH.KIND metric DEPTH.SOURCE files DEPTH.FILES.ROOT depth"
MASKS = "--images photos --num-workers 0 --output"
CHECKS = {"unused_settings", "idle_prior", "check_network", "default_num_workers", "code_of_parts", "followed"}
"""Functions that look at keys which have no part in the result, or replace `auto` by what is read afterwards."""
COMMANDS = {
    "generate-masks": f"{MASKS} masks {SMALL}",
    "explain-masks": f"--images photos --output pictures {SMALL} MASKS.GENERATOR cuts3d {DEPTH}",
    "cut-masks": f"--labels truth.json {MASKS} cut {DEPTH}",
    "split-masks": f"--labels truth.json {MASKS} split MASKS.SPLIT.EDGES canny",
    "track-masks": "--labels truth.json --images photos --output t FEATURES.NAME descriptors FEATURES.IMAGE_SIZE 96",
    "group-masks": "--labels truth.json --images photos --output groups FEATURES.NAME palette GROUPS.NUMBER 1",
    "score-masks": "--labels truth.json --gt truth.json",
    "evaluate corloc": "--labels truth.json --datasets truth.json::photos",
    "demo": "--input photos --output out",
    "evaluate detection": "--datasets truth.json::photos --output scores",
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The keys that code looks at, and with a dot at the end the sections it takes whole; loading itself apart."""
    keys = set[str]()
    places = {frozenset(names): where for where, names in _names().items()}
    getitem = dict.__getitem__

    def spy(node: yacs.config.CfgNode, name: str) -> object:
        value = getitem(node, name)
        where = places.get(frozenset(node))
        if where is not None and not isinstance(value, dict):
            files, functions = zip(*_callers())
            if not any(file.startswith((LOADING, CONFIG)) or file == MANIFEST for file in files) and (
                CHECKS.isdisjoint(functions)
            ):
                keys.add(f"{where}." if "from_config" in functions else f"{where}.{name}".removeprefix("."))
        return value

    def attribute(node: yacs.config.CfgNode, name: str) -> object:
        if name not in node:
            raise AttributeError(name)
        return spy(node, name)

    monkeypatch.setattr(yacs.config.CfgNode, "__getitem__", spy, raising=False)
    monkeypatch.setattr(yacs.config.CfgNode, "__getattr__", attribute)
    yield keys


def _callers() -> list[tuple[str, str]]:
    """File and name of each function at work."""
    frame, found = sys._getframe(2), []
    while frame is not None:
        found.append((frame.f_code.co_filename, frame.f_code.co_name))
        frame = frame.f_back
    return found


def _names() -> dict[str, set[str]]:
    """Section to its keys and the sections below it."""
    found: dict[str, set[str]] = {name: set() for name in SECTIONS}
    for key, _ in all_settings():
        section, _, name = key.rpartition(".")
        found[section].add(name)
        while section:
            section, _, name = section.rpartition(".")
            found.setdefault(section, set()).add(name)
    return found


def run(line: str) -> argparse.Namespace:
    args = main.parser(line.split()).parse_args(line.split())
    args.execute(args)
    return args


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reads_what_it_says(command: str, folder: Path, tiny: list[str], seen: set[str]) -> None:
    weights = " ".join(tiny) if command in ("demo", "evaluate detection") else ""
    if command == "group-masks":
        pytest.importorskip("sklearn", reason="the extra `groups` is not installed")
    args = run(f"{command} {COMMANDS[command]} {weights}")
    assert seen  # else nothing was watched
    read = (*args.reads, *reads.ALWAYS)
    sections = {name.partition(".")[0] for name in read if "." in name}
    of_labels = command in ("cut-masks", "split-masks")
    seen -= {"FEATURES.MEMBERS"} if of_labels else set()  # asked only which parts have no effect
    seen = {key for key in seen if not key.startswith("LOSSES.")}  # a network is built with its losses
    keys = {key for key in seen if not key.endswith(".")}
    assert {section.partition(".")[0] for section in seen - keys} <= sections
    assert not [sentence for key in keys for sentence in reads.unread([key, ""], read)]


@pytest.mark.parametrize("name", [name for name in vars(reads) if name.isupper()])
def test_what_is_read_exists(name: str) -> None:
    get_cfg()
    known = {key for key, _ in all_settings()}
    for part in (entry.removeprefix("-") for entry in getattr(reads, name)):
        assert part in known or (part.endswith(".") and any(key.startswith(part) for key in known))


@pytest.mark.parametrize(
    ("key", "names", "others"),
    [
        ("MASKS.SPLIT.STRENGTH", ["MASKS", "TRACKS"], ["SPLITS"]),
        ("MASKS.SPLIT.FIELD.PEAK", ["MASKS"], ["SPLITS"]),
        ("MASKS.CUTS3D.TAU", ["CUTS", "SPLITS"], ["MASKS"]),
        ("MASKS.CUTS3D.LOCALCUT.TAU_KNN", ["SPLITS"], ["CUTS", "MASKS"]),
        ("TEST.DETECTIONS_PER_IMAGE", ["SCORES"], ["DETECTOR", "TRAINING"]),
        ("TEST.LEVELS.MAX_DETECTIONS", ["DETECTOR"], ["SCORES"]),
        ("TEST.EVALUATORS", ["DETECTOR"], ["SCORES"]),
    ],
)
def test_what_a_command_reads_of_a_section(key: str, names: list[str], others: list[str]) -> None:
    assert all(list(reads.unread([key, "1"], getattr(reads, name))) for name in names)
    assert not any(list(reads.unread([key, "1"], getattr(reads, name))) for name in others)


def test_what_is_listed_in_both_ways_is_read() -> None:
    """A command that scores what a detector predicts."""
    both = (*reads.SCORES, *reads.DETECTOR)
    assert not list(reads.unread(["TEST.PRECISION", "float16"], both))
    (said,) = reads.unread(["TEST.BEST", "segm/AP"], both)
    left_out = "TEST.BEST, TEST.EVAL_PERIOD, TEST.EXPECTED_RESULTS, TEST.PRECISE_BN, TEST.AUG"
    assert f"TEST (without {left_out})" in said and " -" not in said


def test_a_setting_that_is_not_read_is_named_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(common.logger, "warning", lambda message, *parts: told.append(message % parts))
    common._warn.cache_clear()  # another test may have told it
    run(f"explain-masks {COMMANDS['explain-masks']} SOLVER.MAX_ITER 7 MASKS.MAX_PROPOSALS 1")
    assert len(told) == 1
    assert told[0].startswith("SOLVER.MAX_ITER has no effect on this command, which reads only FEATURES, ")


def test_an_unknown_key_stays_an_error(folder: Path) -> None:
    with pytest.raises(UnsegError, match=r"Unknown key SOLVR\.MAX_ITER"):
        run(f"explain-masks {COMMANDS['explain-masks']} SOLVR.MAX_ITER 7")
