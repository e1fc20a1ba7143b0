"""What a detector's checkpoint says about itself: written by both engines, enough to rebuild it anywhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fvcore.common.config import CfgNode
from safetensors import safe_open

import unseg_d2
from unseg_d2.config import edited, load_cfg
from unseg_d2.config.load import as_values
from unseg_d2.data.classes import read_classes, write_classes
from unseg_d2.description import Description, read_description
from unseg_d2.detectors.about import describe_training, differences, portable_recipe
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import load_weights, save_checkpoint
from unseg_d2.detectors.convert import convert, write
from unseg_d2.detectors.detector import Detector
from unseg_d2.detectors.figures import measured_beside
from unseg_d2.detectors.protocol import detectron2_availability, select_engine
from unseg_d2.detectors.recipe import detector_recipe
from unseg_d2.errors import CheckpointMismatch, UnsegError
from unseg_d2.loop.recipes import recipe_in
from unseg_d2.zoo.download import checksum

ENGINES = [
    "builtin",
    pytest.param(
        "detectron2",
        marks=[
            pytest.mark.detectron2,
            pytest.mark.skipif(not detectron2_availability()[0], reason=detectron2_availability()[1]),
        ],
    ),
]
INFO = {
    "features": {"name": "vit dino_vits8", "checksum": "12"},
    "supervision": {"none": "..."},
    "rounds": [{}, {}],
    "counts": {"images": 6, "masks": 11},
}


@pytest.fixture
def label_set(labels: Path, tmp_path: Path) -> str:
    """The labels as a label set of a second self-training round."""
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"info": INFO} | json.loads(labels.read_text())))
    return f"{path}::{labels.parent / 'images'}"


def test_a_description(tiny_cfg: Callable[..., CfgNode], label_set: str, tmp_path: Path) -> None:
    cfg = edited(tiny_cfg(OUTPUT_DIR=tmp_path / "out"), {"DATASETS.TRAIN": (label_set,)})
    about = describe_training(cfg, {}, "builtin")
    assert (about.task, about.engine, about.features, about.supervision) == (
        *("instances", "builtin", "vit dino_vits8"),
        ("none",),
    )
    (data,) = about.data
    assert (data.name, data.images, data.masks, data.round, about.round) == ("labels.json", 6, 11, 2, 2)
    assert data.sha256 == checksum(tmp_path / "labels.json")
    assert about.versions["unseg_d2"] == unseg_d2.__version__ and torch.__version__.startswith(about.versions["torch"])
    assert Description.of(about.entries()) == about
    assert Description.of(json.loads(about.to_metadata()["unseg_d2"])) == about


def test_the_recipe_names_no_place(tiny_cfg: Callable[..., CfgNode], tmp_path: Path) -> None:
    cfg = edited(
        tiny_cfg(OUTPUT_DIR=tmp_path / "out", MODEL__WEIGHTS=tmp_path / "first.pth", ENGINE="builtin"),
        {"DATASETS.TRAIN": (f"{tmp_path}/a.json",)},
    )
    text = portable_recipe(cfg)
    assert str(tmp_path) not in text and "ENGINE" not in text
    again, names = recipe_in(text, "file"), ("OUTPUT_DIR", "ENGINE", "DATALOADER", "DATASETS")
    whole, rebuilt = as_values(cfg), as_values(again)
    for values in (whole, rebuilt):
        for name in names:
            del values[name]
        del values["MODEL"]["WEIGHTS"], values["MODEL"]["DEVICE"]
    assert rebuilt == whole
    assert recipe_in(portable_recipe(edited(cfg, {"DATASETS.TRAIN": ("imagenet_train",)})), "file").DATASETS.TRAIN == (
        "imagenet_train",
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_checkpoint_needs_nothing_beside_it(
    engine: str, tiny_cfg: Callable[..., CfgNode], labels: Path, label_set: str, tmp_path: Path
) -> None:
    cfg = tiny_cfg(
        OUTPUT_DIR=tmp_path / "run", SOLVER__MAX_ITER=2, SOLVER__CHECKPOINT_PERIOD=1, TEST__EVAL_PERIOD=1, VIS_PERIOD=0
    )
    truth = f"{labels}::{labels.parent / 'images'}"
    cfg = edited(cfg, {"DATASETS.TRAIN": (label_set,), "DATASETS.TEST": (truth,), "INPUT.MIN_SIZE_TRAIN": (72,)})
    path = select_engine(engine).train(cfg, resume=False)
    about = read_description(path)
    assert (about.task, about.engine, about.round, about.iteration) == ("instances", engine, 2, 1)
    (measured,) = read_description(tmp_path / "run" / "model_0000000.pth").measured
    assert (measured.data, measured.iteration) == ("labels", 0) and "segm/AP" in measured.metrics
    content = torch.load(path, weights_only=True)  # as Detectron2's checkpointer reads it
    assert {"model", "optimizer", "iteration"} <= content.keys()
    moved = tmp_path / "elsewhere" / "model.pth"
    moved.parent.mkdir()
    moved.write_bytes(path.read_bytes())
    found, origin = detector_recipe(moved, None, "MODEL.DEVICE", "cpu", "ENGINE", "builtin")
    assert origin == "that of the checkpoint" and found.MODEL.FPN.OUT_CHANNELS == 32
    load_weights(build_model(found), moved)


@pytest.fixture
def own(tiny_cfg: Callable[..., CfgNode], tmp_path: Path) -> Path:
    """A checkpoint that knows its recipe."""
    cfg = tiny_cfg(OUTPUT_DIR=tmp_path / "out")
    about = Description(task="instances", recipe=portable_recipe(cfg), supervision=("none",), iteration=4)
    save_checkpoint(tmp_path / "own" / "model.pth", build_model(cfg), **about.entries())
    return tmp_path / "own" / "model.pth"


def test_a_named_recipe_wins_and_what_differs_is_named(own: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="unseg_d2"):
        found, origin = detector_recipe(own, "configs/quickstart.yaml")
    assert origin == "configs/quickstart.yaml" and found.MODEL.FPN.OUT_CHANNELS != 32
    (line,) = [record.getMessage() for record in caplog.records if "another network" in record.getMessage()]
    assert "MODEL." in line and len(line) < 700
    mine = recipe_in(read_description(own).recipe, own)
    assert differences(mine, edited(mine, {"SOLVER.MAX_ITER": 3, "MODEL.DEVICE": "cpu"})) == []
    assert differences(mine, edited(mine, {"MODEL.RESNETS.DEPTH": 50})) == ["MODEL.RESNETS.DEPTH was 18, now 50"]


def test_a_recipe_brings_no_code(own: Path, tmp_path: Path) -> None:
    content = torch.load(own)
    torch.save(content | {"recipe": content["recipe"] + "PLUGINS: [this_is_code]\n"}, own)
    with pytest.raises(UnsegError, match="names the plug-in this_is_code, which is code"):
        Detector.load(own)


def test_entries_that_mean_something_else_are_left_out() -> None:
    assert (
        Description.of({"task": 3, "classes": "cat", "data": [1], "iteration": "x", "engine": ["a"]}) == Description()
    )


def test_checkpoints_of_other_tasks_are_named(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1)}, "task": "saliency", "recipe": "SEED: 1"}, tmp_path / "head.pth")
    for call in (detector_recipe, convert):
        with pytest.raises(CheckpointMismatch) as caught:
            call(tmp_path / "head.pth")
        first, second, third = str(caught.value).splitlines()
        assert first.endswith("head.pth is a saliency head of train-saliency.") and second.startswith("Expected: ")
        assert "unseg-d2 demo" in third


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_converted_file_says_the_same(own: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"converted{ending}"
    write(convert(own), path)
    assert read_description(path) == read_description(own)
    assert detector_recipe(path)[1] == "that of the checkpoint"
    if ending == ".safetensors":
        with safe_open(path, framework="pt") as file:
            assert file.metadata()["format"] == "pt"
    write(convert(own, backbone_only=True), path)
    about = read_description(path)
    assert about.supervision == ("none",) and not about.recipe and about.task is None


def test_classes_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    write_classes(tmp_path, [{"id": 1, "name": "dog"}])
    torch.save({"model": {"a": torch.zeros(1)}, "classes": [{"id": 7, "name": "cat"}]}, tmp_path / "new.pth")
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "old.pth")
    assert read_classes(tmp_path / "new.pth") == [{"id": 7, "name": "cat"}]
    assert read_classes(tmp_path / "old.pth") == [{"id": 1, "name": "dog"}]


def test_figures_beside_a_checkpoint(own: Path) -> None:
    folder = own.parent / "evaluation" / "0_model"
    folder.mkdir(parents=True)
    figures: dict[str, Any] = {"dataset": "a/val.json::b", "bbox": {"AP": 12.5, "APs": None}, "segm": {"AP": 11.0}}
    (folder / "figures.json").write_text(json.dumps(figures))
    (folder / "made_from.json").write_text(json.dumps({"weights": "of another file"}))
    assert measured_beside(own) == []
    (folder / "made_from.json").write_text(json.dumps({"weights": checksum(own)}))
    (found,) = measured_beside(own)
    assert found.data == "val" and found.metrics == {"bbox/AP": 12.5, "segm/AP": 11.0}


def test_older_files_are_described_by_what_lies_beside_them(tiny_cfg: Callable[..., CfgNode], tmp_path: Path) -> None:
    cfg = tiny_cfg()
    save_checkpoint(tmp_path / "model.pth", build_model(cfg))
    assert "none in the checkpoint or beside it" in detector_recipe(tmp_path / "model.pth")[1]
    (tmp_path / "config.yaml").write_text(cfg.dump())
    found, origin = detector_recipe(tmp_path / "model.pth")
    assert found == load_cfg(tmp_path / "config.yaml") and "found beside" in origin
