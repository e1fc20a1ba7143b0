"""Damaged records of runs and results: classes, rounds, trainings, predictions and their parts."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from hypothesis import given
from hypothesis import strategies as st
from mutations import BYTES, PLACES, Changes, fewer, mutated, replaced, sentence, trials

from unseg_d2.config import load_cfg
from unseg_d2.content import LEDGER, Ledger
from unseg_d2.data.classes import read_classes, write_classes
from unseg_d2.data.results import ResultsIndex
from unseg_d2.rle import encode_mask
from unseg_d2.training import prediction
from unseg_d2.training.prediction import predict_to_file
from unseg_d2.training.score_masks import score_masks
from unseg_d2.training.state import RunState, Step
from unseg_d2.training.train import RECORD, _check_origin

pytestmark = pytest.mark.slow
CHANGES = st.tuples(PLACES, BYTES | st.none())
Both = tuple[list[tuple[list[int], Any]], Changes | None]


def change(path: Path, changes: Both) -> None:
    """Replace values in a JSON file, and change some of its bytes."""
    value: Any = json.loads(path.read_text())
    for place, other in changes[0]:
        value = replaced(value, place, copy.deepcopy(other))
    content = json.dumps(value).encode()
    path.write_bytes(mutated(content, changes[1]) if changes[1] else content)


@trials
@given(CHANGES)
def test_classes(tmp_path_factory: pytest.TempPathFactory, changes: Both) -> None:
    folder = tmp_path_factory.mktemp("classes")
    write_classes(folder, [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}])
    (path,) = folder.iterdir()
    change(path, changes)
    sentence(lambda: read_classes(folder / "model_final.pth"), "classes.json")


SETTINGS = {
    "recipes": {"first": {"SEED": 3}, "rounds": {"SEED": 3}},
    "images": "photos",
    "labels": "",
    "ground_truth": "",
    "num_processes": 1,
    "num_images": 4,
    "checksums": {"labels": "", "ground_truth": "", "weights": "", "images": "0" * 64},
    "engine": "fake",
}


@trials
@given(CHANGES)
def test_rounds(tmp_path_factory: pytest.TempPathFactory, changes: Both) -> None:
    folder = tmp_path_factory.mktemp("rounds")
    (folder / "model.pth").write_text("weights")
    state = RunState(folder, SETTINGS)
    inputs: dict[str, Path | str] = {"weights": folder / "model.pth", "scoring": "x"}
    state.finish(Step(0, "masks", "model.pth", 1.5, {"weights": [7, "0" * 64], "scoring": "x"}))
    change(folder / "rounds.json", changes)

    def resume() -> None:
        state = RunState(folder, SETTINGS)
        for step in state.steps:
            state.find(step.round, step.name)
            state.why_again(step, inputs)
        state.finish(Step(1, "train", "model.pth"))

    sentence(resume, "rounds.json")


@trials
@given(CHANGES)
def test_trainings(tmp_path_factory: pytest.TempPathFactory, changes: Both) -> None:
    folder = tmp_path_factory.mktemp("training")
    origin = {"engine": "fake", "processes": 1, "recipe": {"SEED": 3}, "weights": "", "labels": ["0" * 64]}
    (folder / RECORD).write_text(json.dumps(origin))
    change(folder / RECORD, changes)
    sentence(lambda: _check_origin(folder, origin), "training.json")


@trials
@given(BYTES)
def test_ledgers(tmp_path_factory: pytest.TempPathFactory, changes: Changes) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    source = folder / "0.jpg"
    source.write_text("picture")
    for _ in range(2):
        with Ledger(folder, "by").making(folder / "0.png", source):
            (folder / "0.png").write_text("mask")
    (folder / LEDGER).write_bytes(mutated((folder / LEDGER).read_bytes(), changes))
    sentence(lambda: Ledger(folder, "by").is_current(folder / "0.png", source), "made_from.jsonl")


RECORDS = [{"file_name": f"{index}.png", "image_id": index, "height": 8, "width": 8} for index in range(4)]


@fewer
@given(st.sampled_from(["made_from.json", "predictions.json", "part"]), CHANGES)
def test_predictions(tmp_path_factory: pytest.TempPathFactory, which: str, changes: Both) -> None:
    folder = tmp_path_factory.mktemp("predictions")
    weights = folder / "model.pth"
    weights.write_text("weights")
    with pytest.MonkeyPatch.context() as smaller:
        smaller.setattr(prediction, "PART_SIZE", 2)
        arguments: dict[str, Any] = {"weights": str(weights), "output": folder}
        predict_to_file(FakeEngine(), load_cfg(), RECORDS, **arguments)
        path = next(folder.glob("parts/*/*")) if which == "part" else folder / which
        change(path, changes)
        sentence(lambda: predict_to_file(FakeEngine(), load_cfg(), RECORDS, **arguments), f"predictions: {which}")


BOX = {"category_id": 1, "bbox": [4.0, 3.0, 8.0, 6.0], "score": 0.5}
MASK = {"size": [20, 30], "counts": [3, 200, 397]}
RESULTS = [
    {"image_id": 1, **BOX, "segmentation": {**MASK, "counts": "30V1"}},
    {"image_id": 1, **BOX, "segmentation": [[4, 3, 12, 3, 12, 9, 4, 9]]},
    {"image_id": 2, **BOX, "segmentation": MASK},
]


@trials
@given(CHANGES)
def test_results(tmp_path_factory: pytest.TempPathFactory, changes: Both) -> None:
    import numpy as np

    folder = tmp_path_factory.mktemp("results")
    images = [{"id": n, "file_name": f"{n}.png", "height": 20, "width": 30} for n in (1, 2)]
    block = np.zeros((20, 30), bool)
    block[3:9, 4:12] = True
    truth = [
        {"id": n, "image_id": n, **BOX, "iscrowd": 0, "area": 48, "segmentation": encode_mask(block)} for n in (1, 2)
    ]
    (folder / "truth.json").write_text(
        json.dumps({"images": images, "annotations": truth, "categories": [{"id": 1, "name": "thing"}]})
    )
    path = folder / "results.json"
    path.write_text(json.dumps([*RESULTS[1:], {**RESULTS[0], "segmentation": encode_mask(block)}]))
    change(path, changes)
    sentence(lambda: list(ResultsIndex(path)), "COCO results")

    def score() -> None:
        metrics = score_masks(
            path, folder / "truth.json", load_cfg(None, ["TEST.CLASS_AGNOSTIC.BACKEND", "pycocotools"])
        )
        assert metrics is not None

    sentence(score)
