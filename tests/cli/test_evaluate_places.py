"""`evaluate` and `score-masks` say that a place cannot be read or written in one sentence, before any work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.cli import score_masks
from unseg_d2.cli.evaluate import TASKS
from unseg_d2.cli.evaluate_semantic import mask_folders
from unseg_d2.errors import UnsegError

OBJECT = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}


@pytest.fixture
def truth(tmp_path: Path) -> str:
    content = {"images": [{"id": 1, "file_name": "1.png", "height": 20, "width": 20}], "annotations": [OBJECT]}
    (tmp_path / "truth.json").write_text(json.dumps(content | {"categories": [{"id": 1, "name": "object"}]}))
    (tmp_path / "found.json").write_text(json.dumps([{"image_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5}]))
    (tmp_path / "a_file").write_text("")
    return str(tmp_path / "truth.json")


def arguments(task: str, truth: str) -> list[str]:
    """A command that would score something, or at least begin to."""
    found = str(Path(truth).with_name("found.json"))
    return {
        "score-masks": ["--labels", found, "--gt", truth],
        "detection": ["--datasets", truth, "--labels", found],
        "saliency": ["--datasets", truth, "--labels", found],
        "corloc": ["--datasets", truth, "--labels", found],
        "semantic": ["--datasets", truth, "--weights", found],
    }[task]


def execute(task: str, words: list[str]) -> None:
    command = score_masks.COMMAND if task == "score-masks" else TASKS[task][1]
    command.execute(command.parser("unseg-d2").parse_args(words))


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    for name in (
        "unseg_d2.training.score_masks.score_masks",
        "unseg_d2.training.benchmarks.score_predictions",
        "unseg_d2.saliency.methods.stored_method",
        "unseg_d2.semantic.model.load_semantic_model",
    ):
        monkeypatch.setattr(name, work)


@pytest.mark.parametrize("task", ["score-masks", *TASKS])
def test_an_impossible_output(task: str, truth: str, no_work: None) -> None:
    place = Path(truth).with_name("a_file") / "below" / "figures"
    with pytest.raises(UnsegError, match=r"a_file/below/figures.* cannot be written: .*\. Choose another place"):
        execute(task, [*arguments(task, truth), "--output", str(place)])


def test_a_folder_in_place_of_the_file(truth: str, tmp_path: Path, no_work: None) -> None:
    with pytest.raises(UnsegError, match="cannot be written: Is a directory"):
        execute("score-masks", [*arguments("score-masks", truth), "--output", str(tmp_path)])


@pytest.mark.parametrize("task", ["score-masks", "detection"])
def test_unreadable_results(task: str, truth: str, tmp_path: Path, no_work: None) -> None:
    """The second of two files is looked at before the first is scored."""
    words = arguments(task, truth)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "locked").write_text("[]")
    (tmp_path / "locked").chmod(0)
    known = {"missing.json": "There is no file .*missing.json", "pipe": "pipe is neither a file nor a folder"}
    if not os.access(tmp_path / "locked", os.R_OK):  # to root nothing is locked
        known["locked"] = "locked cannot be read: Permission denied"
    for name, message in known.items():
        if task == "detection":
            words = ["--datasets", truth, truth, "--labels", str(tmp_path / "found.json"), str(tmp_path / name)]
        else:
            words = ["--labels", str(tmp_path / name), "--gt", truth]
        with pytest.raises(UnsegError, match=message):
            execute(task, [*words, *(["--output", str(tmp_path / "out")] if task == "detection" else [])])


@pytest.mark.parametrize("task", ["saliency", "corloc"])
def test_a_missing_second_data_set_is_named_before_the_first_is_scored(
    task: str, truth: str, tmp_path: Path, no_work: None
) -> None:
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / name / "1.png")
    first = f"{tmp_path}/photos::{tmp_path}/masks" if task == "saliency" else f"{truth}::{tmp_path}/photos"
    words = [*arguments(task, truth)[2:], "--datasets", first]
    with pytest.raises(AssertionError, match="the work has begun"):
        execute(task, words)
    with pytest.raises(UnsegError, match="nowhere"):
        execute(task, [*words, "nowhere.json" if task == "corloc" else "nowhere"])


def test_the_label_maps_of_two_data_sets_never_share_a_folder() -> None:
    assert mask_folders(Path("maps"), ["a/images::a/labels"]) == {"a/images::a/labels": Path("maps")}
    specs = ["one/photos::a/labels", "two/frames::b/labels"]
    assert list(mask_folders(Path("maps"), specs).values()) == [Path("maps/photos"), Path("maps/frames")]
    with pytest.raises(UnsegError, match=r"of train/images and val/images/ would both be in maps/images; write them"):
        mask_folders(Path("maps"), ["train/images", "val/images/"])
