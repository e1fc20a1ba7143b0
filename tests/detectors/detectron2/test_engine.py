"""The Detectron2 engine end to end: tiny networks are trained, evaluated, killed, resumed and run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
import detectron2.data.transforms as T
from detectron2.data.detection_utils import read_image
from detectron2.modeling import build_model

from unseg_d2.data.catalog import load_dataset
from unseg_d2.detectors import scoring
from unseg_d2.detectors.checkpoints import load_weights
from unseg_d2.detectors.detectron2.config import to_detectron2
from unseg_d2.detectors.detectron2.engine import Detectron2Engine
from unseg_d2.detectors.detectron2.trainer import build_optimizer
from unseg_d2.errors import UnsegError
from unseg_d2.loop.events import read_reports
from unseg_d2.rle import encode_mask

pytestmark = pytest.mark.detectron2

REPOSITORY = Path(__file__).resolve().parents[3]
TRAINED = {"SOLVER__CHECKPOINT_PERIOD": 2, "TEST__PRECISE_BN__ENABLED": True, "TEST__PRECISE_BN__NUM_ITER": 2}


@pytest.fixture
def make_cfg(tiny_cfg: Callable[..., CfgNode], labels: Path, tmp_path: Path) -> Callable[..., CfgNode]:
    """Return ``make(folder, iterations, **overrides)``: a recipe for the rectangles; its ResNet does not learn."""

    def make(folder: str, iterations: int, **overrides: Any) -> CfgNode:
        options = {
            "DATASETS__TRAIN": (str(labels),),
            "INPUT__MIN_SIZE_TRAIN": (72, 96),
            "INPUT__MIN_SIZE_TEST": 96,
            "MODEL__BACKBONE__FREEZE_AT": 5,
            "MODEL__FPN__NORM": "BN",
            "MODEL__ROI_HEADS__USE_DROPLOSS": True,
            "MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH": 0.01,
        }
        cfg = tiny_cfg(OUTPUT_DIR=tmp_path / folder, SOLVER__MAX_ITER=iterations, **{**options, **overrides})
        cfg.freeze()
        return cfg

    return make


@pytest.fixture
def trained(make_cfg: Callable[..., CfgNode], labels: Path) -> CfgNode:
    """The recipe of a finished run of four iterations, trained once."""
    cfg = make_cfg(str(labels.parent / "trained"), 4, **TRAINED)
    if not (Path(cfg.OUTPUT_DIR) / "model_final.pth").is_file():
        train(cfg)
    return cfg


def halt(done: CfgNode, halted: CfgNode, name: str) -> None:
    """Make a folder look as it did when the run wrote a checkpoint."""
    Path(halted.OUTPUT_DIR).mkdir()
    shutil.copy(Path(done.OUTPUT_DIR) / name, halted.OUTPUT_DIR)
    (Path(halted.OUTPUT_DIR) / "last_checkpoint").write_text(name)


def train(cfg: CfgNode, resume: bool = False) -> None:
    """Train in a launched process."""
    torch.set_num_threads(1)
    Detectron2Engine().train(cfg, resume=resume)


def stored(cfg: CfgNode, name: str = "model_final.pth") -> dict[str, Any]:
    return torch.load(Path(cfg.OUTPUT_DIR) / name, weights_only=True)


def assert_same_state(first: Any, second: Any) -> None:
    """Compare two checkpoints bit by bit."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same_state(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second):
            assert_same_state(one, other)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


def test_learns_and_evaluates_on_the_way(
    make_cfg: Callable[..., CfgNode], labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unseg_d2.detectors.detectron2.trainer.PERIOD", 5)
    cfg = make_cfg("run", 15, DATASETS__TEST=(str(labels),), TEST__EVAL_PERIOD=10)
    final = Detectron2Engine().train(cfg, resume=False)
    assert final == Path(cfg.OUTPUT_DIR) / "model_final.pth"
    assert (final.parent / "last_checkpoint").read_text() == "model_final.pth"
    metrics = [json.loads(line) for line in (final.parent / "metrics.json").read_text().splitlines()]
    losses = [line["total_loss"] for line in metrics if "total_loss" in line]
    assert losses[-1] < 0.9 * losses[0]
    assert [line["iteration"] for line in metrics if "segm/AR100" in line] == [9]
    assert list(final.parent.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(
    workers: int, trained: CfgNode, make_cfg: Callable[..., CfgNode]
) -> None:
    halted = make_cfg("halted", 4, **{**TRAINED, "DATALOADER__NUM_WORKERS": workers})
    halt(trained, halted, "model_0000001.pth")
    train(halted, resume=True)
    assert_same_state(stored(trained), stored(halted))


def test_resuming_a_finished_run_changes_nothing(trained: CfgNode, make_cfg: Callable[..., CfgNode]) -> None:
    before = (Path(trained.OUTPUT_DIR) / "model_final.pth").stat().st_mtime_ns
    train(trained, resume=True)
    assert (Path(trained.OUTPUT_DIR) / "model_final.pth").stat().st_mtime_ns == before


def test_killed_between_the_last_two_checkpoints(trained: CfgNode, make_cfg: Callable[..., CfgNode]) -> None:
    halted = make_cfg("halted", 4, **TRAINED)
    halt(trained, halted, "model_0000003.pth")
    train(halted, resume=True)
    assert_same_state(stored(trained), stored(halted))


@pytest.mark.slow
def test_killed_and_run_again(make_cfg: Callable[..., CfgNode], tmp_path: Path) -> None:
    options = {"SOLVER__CHECKPOINT_PERIOD": 4}
    straight, killed = make_cfg("straight", 16, **options), make_cfg("killed", 16, **options)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(killed.dump())
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from unseg_d2.config import load_cfg; from unseg_d2.detectors.detectron2.engine import Detectron2Engine\n"
        "Detectron2Engine().train(load_cfg(sys.argv[1]), resume=True)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", code, str(recipe)], env=environment, cwd=tmp_path)
    pointer, deadline = Path(killed.OUTPUT_DIR) / "last_checkpoint", time.monotonic() + 300
    while not pointer.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (pointer.parent / "model_final.pth").exists()
    torch.set_num_threads(1)
    train(killed, resume=True)
    train(straight)
    assert_same_state(stored(straight), stored(killed))


@pytest.mark.slow
def test_two_processes_on_a_cpu(make_cfg: Callable[..., CfgNode], labels: Path) -> None:
    options = {"SOLVER__CHECKPOINT_PERIOD": 1, "DATASETS__TEST": (str(labels),), "TEST__EVAL_PERIOD": 1}
    straight, halted = make_cfg("straight", 3, **options), make_cfg("halted", 3, **options)
    engine = Detectron2Engine()
    engine.launch(train, 2, (straight,))
    halt(straight, halted, "model_0000000.pth")
    engine.launch(train, 2, (halted, True))
    assert_same_state(stored(straight), stored(halted))
    metrics = (Path(straight.OUTPUT_DIR) / "metrics.json").read_text().splitlines()
    assert 0 <= json.loads(metrics[-1])["bbox/AP"] <= 100


@pytest.mark.slow
def test_two_processes_learn_what_one_does(
    tiny_cfg: Callable[..., CfgNode], labels: Path, unsampled: dict[str, Any], tmp_path: Path
) -> None:
    """The same loss and, since gradients are averaged, the same network; every image has one object."""
    content = json.loads(labels.read_text())
    content["annotations"] = list({a["image_id"]: a for a in content["annotations"]}.values())
    even = labels.with_name("even.json")
    even.write_text(json.dumps(content))
    folders = [tmp_path / "one", tmp_path / "two"]
    recipes = [
        tiny_cfg(OUTPUT_DIR=folder, DATASETS__TRAIN=(str(even),), SOLVER__MAX_ITER=3, **unsampled) for folder in folders
    ]
    train(recipes[0])
    Detectron2Engine().launch(train, 2, (recipes[1],))
    losses = [json.loads((folder / "metrics.json").read_text().splitlines()[-1])["total_loss"] for folder in folders]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    one, two = (stored(cfg)["model"] for cfg in recipes)
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("base_lr", [1e5, 1e12], ids=["a loss", "a box"])
def test_a_loss_that_is_not_finite_stops_and_names_the_images(
    base_lr: float, make_cfg: Callable[..., CfgNode], labels: Path
) -> None:
    cfg = make_cfg("run", 20, SOLVER__BASE_LR=base_lr, SOLVER__WARMUP_ITERS=0)
    with pytest.raises(UnsegError, match=f"is not finite for the images {labels.parent}.*png, .*png. Lower SOLVER"):
        train(cfg)


@pytest.mark.slow
def test_one_of_two_processes_diverges_and_both_stop(make_cfg: Callable[..., CfgNode], labels: Path) -> None:
    cfg = make_cfg("run", 20, SOLVER__BASE_LR=1e12, SOLVER__WARMUP_ITERS=0)
    with pytest.raises(UnsegError, match=f"is not finite for the images {labels.parent}"):
        Detectron2Engine().launch(train, 2, (cfg,))


def test_predictions_are_those_of_stock_detectron2(
    trained: CfgNode, make_cfg: Callable[..., CfgNode], labels: Path
) -> None:
    cfg = make_cfg("run", 4, INPUT__FORMAT="BGR", INPUT__MIN_SIZE_TEST=120)
    weights = str(Path(trained.OUTPUT_DIR) / "model_final.pth")
    records = load_dataset(str(labels), cfg)
    found = list(Detectron2Engine().predict(cfg, records, weights=weights))
    assert [prediction.record["image_id"] for prediction in found] == [record["image_id"] for record in records]

    model = build_model(to_detectron2(cfg)).eval()
    load_weights(model, weights)
    resize = T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
    for record, prediction in zip(records[:2], found):
        image = read_image(record["file_name"], "BGR")
        resized = resize.get_transform(image).apply_image(image)
        tensor = torch.from_numpy(resized.transpose(2, 0, 1).copy())
        with torch.no_grad():
            output = model([{"image": tensor, "height": image.shape[0], "width": image.shape[1]}])[0]["instances"]
        assert len(prediction.rles) == len(prediction.boxes) == len(output) > 0
        np.testing.assert_allclose(prediction.boxes, output.pred_boxes.tensor.numpy(), atol=1e-3)
        np.testing.assert_allclose(prediction.scores, output.scores.numpy(), atol=1e-6)
        assert (np.diff(prediction.scores) <= 0).all()
        assert prediction.rles == [encode_mask(mask) for mask in output.pred_masks.numpy()]


@pytest.mark.parametrize("first, second", [("detectron2", "builtin"), ("builtin", "detectron2")])
def test_either_engine_runs_what_the_other_trained(
    first: str, second: str, make_cfg: Callable[..., CfgNode], labels: Path
) -> None:
    from unseg_d2.detectors.protocol import select_engine

    cfg = make_cfg("run", 3)
    weights = str(select_engine(first).train(cfg, resume=False))
    records = load_dataset(str(labels), cfg)[:2]
    expected = list(select_engine(first).predict(cfg, records, weights=weights))
    found = list(select_engine(second).predict(cfg, records, weights=weights))
    for one, other in zip(expected, found, strict=True):
        assert len(one.boxes) == len(other.boxes) > 0
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_a_checkpoint_of_the_other_engine_starts_but_does_not_resume(make_cfg: Callable[..., CfgNode]) -> None:
    from unseg_d2.detectors.builtin.engine import BuiltinEngine

    cfg = make_cfg("run", 2)
    weights = BuiltinEngine().train(cfg, resume=False)
    with pytest.raises(UnsegError, match="written by another engine"):
        train(cfg, resume=True)
    train(make_cfg("next", 1, MODEL__WEIGHTS=str(weights)))


def test_optimizer_has_the_recipe_s_groups(tiny_cfg: Callable[..., CfgNode]) -> None:
    cfg = to_detectron2(
        tiny_cfg(
            SOLVER__BASE_LR_MULTIPLIER=4,
            SOLVER__BASE_LR_MULTIPLIER_NAMES=["roi_heads.mask_head.predictor", "roi_heads.box_predictor.1.cls_score"],
            SOLVER__CLIP_GRADIENTS__CLIP_VALUE=0.5,
        )
    )
    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    settings = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    named = {name: settings[id(parameter)] for name, parameter in model.named_parameters()}
    assert named["roi_heads.mask_head.predictor.weight"] == (0.04, 1e-4)
    assert named["roi_heads.box_predictor.1.cls_score.bias"] == (0.04, 1e-4)
    assert named["roi_heads.box_predictor.0.cls_score.bias"] == (0.01, 1e-4)
    assert named["backbone.bottom_up.stem.conv1.norm.weight"] == (0.01, 0.0)
    # CLIP_TYPE norm: each tensor separately.
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    bias = before["roi_heads.mask_head.predictor.bias"]
    moved = float((bias - model.roi_heads.mask_head.predictor.bias.detach()).norm())
    assert moved == pytest.approx(0.04 * (0.5 + 1e-4 * float(bias.norm())), rel=1e-3)


class Here:
    """In the place of the process that scores: done when it is asked for the third time, or waited for."""

    exitcode = 0

    def __init__(self, folder: Path, cfg: CfgNode) -> None:
        self.work, self.left = (folder, cfg), 2

    def is_alive(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def join(self) -> None:
        scoring.score_kept(*self.work)

    def terminate(self) -> None:
        raise AssertionError("all scores have been taken")


@pytest.mark.slow
def test_scores_that_come_late_change_nothing(
    make_cfg: Callable[..., CfgNode], labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metrics of iteration 1 come after the checkpoint of iteration 2; then as if the training was killed there."""
    monkeypatch.setattr("unseg_d2.detectors.detectron2.trainer.PERIOD", 1)
    options = {"SOLVER__CHECKPOINT_PERIOD": 1, "DATASETS__TEST": (str(labels),), "TEST__EVAL_PERIOD": 2}
    at_once, late = make_cfg("once", 5, **options), make_cfg("late", 5, **options)
    train(at_once)
    monkeypatch.setattr(scoring, "BESIDE_FROM", 6)
    monkeypatch.setattr(scoring, "_begin", Here)
    train(late)
    for number in range(5):
        name = f"model_{number:07d}.pth"
        assert_same_state(stored(at_once, name), stored(late, name))
    assert_same_state(stored(at_once), stored(late))
    logs = [
        [(line["iteration"], line["bbox/AP"], line["segm/AR100"]) for line in found if "bbox/AP" in line]
        for found in (read_reports(Path(cfg.OUTPUT_DIR) / "metrics.json") for cfg in (at_once, late))
    ]
    assert [iteration for iteration, *_ in logs[0]] == [1, 3] and repr(logs[0]) == repr(logs[1])
    assert not (Path(late.OUTPUT_DIR) / "scoring").exists()
    killed = make_cfg("killed", 5, **options)
    halt(late, killed, "model_0000002.pth")
    scorer = scoring.Scorer(Path(killed.OUTPUT_DIR), killed)
    item = {"image_id": 1, "iscrowd": 0, "category_id": 1, "area": 100, "bbox": [0.0, 0.0, 10.0, 10.0]}
    truth = {"images": [{"id": 1, "height": 20, "width": 20}], "annotations": [item]}
    scorer.keep(1, [scoring.Found("", 1, [(truth, [item | {"score": 0.5}])])])
    train(killed, resume=True)
    assert_same_state(stored(at_once), stored(killed))
    reports = read_reports(Path(killed.OUTPUT_DIR) / "metrics.json")
    measured = [(line["iteration"], line["bbox/AP"]) for line in reports if "bbox/AP" in line]
    assert measured == [(1, pytest.approx(100)), logs[0][1][:2]]
