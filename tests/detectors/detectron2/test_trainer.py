"""The trainer as a project of its own uses it: the training of ``train-net``, and nothing lost on an error."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.config import CfgNode, get_cfg
from detectron2.data import build_detection_train_loader
from detectron2.engine import HookBase
from detectron2.utils.logger import setup_logger

from unseg_d2.detectors.builtin.engine import BuiltinEngine
from unseg_d2.detectors.builtin.model import build_model as build_builtin
from unseg_d2.detectors.checkpoints import save_checkpoint
from unseg_d2.detectors.detectron2.trainer import EngineTrainer
from unseg_d2.detectron2 import UnsegDatasetMapper, UnsegTrainer, add_unseg_config, next_label_set
from unseg_d2.errors import UnsegError

pytestmark = pytest.mark.detectron2
CERTAIN = {
    "MODEL__ROI_MASK_HEAD__CONFIDENCE": "spatial",
    "MODEL__ROI_HEADS__USE_DROPLOSS": True,
    "MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH": 0.01,
    "DATALOADER__COPY_PASTE": True,
    "DATALOADER__COPY_PASTE_RATE": 1.0,
    "DATALOADER__COPY_PASTE_SELECTION": "confident",
    "DATALOADER__COPY_PASTE_BLEND": "confidence",
    "INPUT__MIN_SIZE_TRAIN": (72, 96),
    "INPUT__MIN_SIZE_TEST": 72,
    "SOLVER__MAX_ITER": 1,
}
"""CutS3D's recipe, small."""


@pytest.fixture
def make_cfg(tiny_cfg: Callable[..., Any], register: Callable[..., str], tmp_path: Path) -> Callable[..., CfgNode]:
    """Return ``make(folder, **overrides)``: the configuration of a Detectron2 project."""

    def make(folder: str, **overrides: Any) -> CfgNode:
        options = {"DATASETS__TRAIN": (register(),), "OUTPUT_DIR": tmp_path / folder, **CERTAIN, **overrides}
        recipe = tmp_path / f"{folder}.yaml"
        recipe.write_text(tiny_cfg(**options).dump())
        cfg = get_cfg()
        add_unseg_config(cfg)
        cfg.merge_from_file(str(recipe))
        cfg.MYPROJECT = CfgNode({"KEY": 1})
        return cfg

    return make


def train(cfg: CfgNode, trainer: type[UnsegTrainer] = UnsegTrainer, resume: bool = False) -> UnsegTrainer:
    torch.set_num_threads(1)
    made = trainer(cfg)
    made.resume_or_load(resume=resume)
    made.train()
    return made


def logged(folder: str, key: str = "loss_mask") -> list[dict[str, Any]]:
    lines = (Path(folder) / "metrics.json").read_text().splitlines()
    return [line for line in map(json.loads, lines) if key in line]


def test_the_losses_of_a_batch_are_those_of_the_other_engine(
    make_cfg: Callable[..., CfgNode], tiny_cfg: Callable[..., Any], certain_labels: Path, tmp_path: Path
) -> None:
    """Another loader of the same data, another network and another loop; only weights and recipe are shared."""
    options = {**CERTAIN, "DATASETS__TRAIN": (str(certain_labels),), "OUTPUT_DIR": tmp_path / "builtin"}
    recipe = tiny_cfg(**options)
    torch.manual_seed(3)
    save_checkpoint(tmp_path / "same.pth", build_builtin(recipe))
    recipe.MODEL.WEIGHTS = str(tmp_path / "same.pth")
    recipe.freeze()
    torch.set_num_threads(1)
    BuiltinEngine().train(recipe, resume=False)
    train(make_cfg("own", MODEL__WEIGHTS=tmp_path / "same.pth"))
    (expected,), (found,) = logged(recipe.OUTPUT_DIR), logged(str(tmp_path / "own"))
    losses = [name for name in expected if "loss" in name]
    assert len(losses) == 10 and found["loss_mask"] > 0
    for name in losses:
        assert found[name] == pytest.approx(expected[name], rel=1e-6, abs=1e-6), name


@pytest.mark.parametrize("name", ["detectron2", "unseg_d2", ""])
def test_messages_of_both_packages_are_seen(name: str) -> None:
    """Whichever of the two loggers has been set up; where none has, Detectron2's is, as by ``DefaultTrainer``."""
    loggers = [logging.getLogger(known) for known in ("detectron2", "unseg_d2")]
    setup_logger.cache_clear()
    for logger in loggers:
        logger.handlers = []
    if name:
        logging.getLogger(name).addHandler(logging.NullHandler())
    UnsegTrainer._set_up_logging(UnsegTrainer.__new__(UnsegTrainer))
    assert loggers[0].handlers and loggers[0].handlers == loggers[1].handlers
    for logger in loggers:
        logger.handlers = []
    EngineTrainer._set_up_logging(EngineTrainer.__new__(EngineTrainer))
    assert not loggers[0].handlers and not loggers[1].handlers


class Failing(HookBase):
    def __init__(self, where: str) -> None:
        setattr(self, where, self.fail)

    def fail(self) -> None:
        raise RuntimeError("the disk is on fire")


def closing(closed: list[str], name: str, close: Callable[[], None]) -> None:
    closed.append(name)
    close()  # or the thread of TensorBoard's writer would write on, into a folder that is gone


@pytest.mark.parametrize("where", ["before_step", "after_train"])
def test_an_error_closes_the_log(make_cfg: Callable[..., CfgNode], where: str) -> None:
    trainer = UnsegTrainer(make_cfg("failed", TEST__PRECISE_BN__ENABLED=False))
    trainer._hooks.insert(0, Failing(where))
    closed: list[str] = []
    for writer in trainer.writers:
        writer.close = functools.partial(closing, closed, type(writer).__name__, writer.close)
    trainer.resume_or_load(resume=False)
    with pytest.raises(RuntimeError, match="on fire"):
        trainer.train()
    assert {"JSONWriter", "TensorboardXWriter"} <= set(closed)


def test_it_evaluates_at_the_end_and_when_there_is_nothing_left_to_train(make_cfg: Callable[..., CfgNode]) -> None:
    cfg = make_cfg("run", DATASETS__TEST=("certain",))
    train(cfg)
    (measured,) = logged(cfg.OUTPUT_DIR, "segm/AP")
    final = Path(cfg.OUTPUT_DIR) / "model_final.pth"
    written = final.stat().st_mtime_ns
    again = UnsegTrainer(cfg)
    again.resume_or_load(resume=True)
    figures = again.train()
    assert figures is not None and figures["segm"]["AP"] == pytest.approx(measured["segm/AP"])
    assert final.stat().st_mtime_ns == written
    assert UnsegTrainer.test(again.cfg, again.model)["bbox"]["AP"] == figures["bbox"]["AP"]


def test_detectron2s_own_loader_with_the_mapper(make_cfg: Callable[..., CfgNode]) -> None:
    class Trainer(UnsegTrainer):
        @classmethod
        def build_train_loader(cls, cfg: CfgNode) -> Iterable[list[dict[str, Any]]]:
            return build_detection_train_loader(cfg, mapper=UnsegDatasetMapper(cfg, True))

    cfg = make_cfg("run", TEST__PRECISE_BN__ENABLED=True, TEST__PRECISE_BN__NUM_ITER=1)
    train(cfg, Trainer)
    assert logged(cfg.OUTPUT_DIR)[0]["loss_mask"] > 0


def test_solver_keys_have_their_effect(make_cfg: Callable[..., CfgNode], caplog: pytest.LogCaptureFixture) -> None:
    options = {"SOLVER__BASE_LR_MULTIPLIER": 2, "SOLVER__REFERENCE_WORLD_SIZE": 2, "SOLVER__IMS_PER_BATCH": 4}
    names = ["roi_heads.mask_head.predictor"]
    cfg = make_cfg("run", SOLVER__BASE_LR_MULTIPLIER_NAMES=names, SOLVER__BASE_LR=0.5, SEED=-1, **options)
    with caplog.at_level("INFO"):
        trainer = UnsegTrainer(cfg)
    assert "recipe for 2 GPUs on 1: factor 1/2" in caplog.text
    assert trainer.max_iter == 2 and trainer.cfg.SEED >= 0
    rates = {group["initial_lr"] for group in trainer.optimizer.param_groups}
    assert rates == {0.25, 0.5}
    assert len(next(iter(trainer.data_loader))) == 2
    assert cfg.SOLVER.IMS_PER_BATCH == 4 and trainer.cfg.MYPROJECT.KEY == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"MODEL__ROI_HEADS__NUM_CLASSES": 3}, "NUM_CLASSES is 3"),
        ({"DATASETS__TRAIN": ()}, "DATASETS.TRAIN is empty"),
        ({"DATASETS__TRAIN": ("certian",)}, "'certian' is not a built-in data set"),
        ({"DATASETS__TEST": ("certain", "truth.json")}, "There is no file truth.json"),
    ],
)
def test_what_does_not_work_is_refused(
    make_cfg: Callable[..., CfgNode], overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsegError, match=message):
        UnsegTrainer(make_cfg("run", **overrides))


def test_keys_that_only_detectron2s_loader_knows(make_cfg: Callable[..., CfgNode]) -> None:
    cfg = make_cfg("run")
    cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    with pytest.raises(UnsegError, match="sampler_train must be 'TrainingSampler'"):
        UnsegTrainer(cfg)
    UnsegDatasetMapper(cfg, True)
    with pytest.raises(UnsegError, match="call add_unseg_config"):
        UnsegTrainer(get_cfg())


def test_the_label_set_of_the_next_round(
    make_cfg: Callable[..., CfgNode], register: Callable[..., str], tmp_path: Path
) -> None:
    cfg = make_cfg("run", ROUNDS__SCORE_THRESHOLDS=[0.0], ROUNDS__DETECTIONS_PER_IMAGE=3)
    weights = Path(train(cfg).cfg.OUTPUT_DIR) / "model_final.pth"
    path = next_label_set(cfg, weights, "certain", tmp_path / "round1")
    content = json.loads(path.read_text())
    assert path == tmp_path / "round1" / "labels.json"
    assert content["info"]["rounds"][0]["kept_predictions"] == 18  # three in each of six images
    assert "confidence" in str(content["annotations"]) or content["info"]["rounds"][0]["kept_previous"] == 0
    register("round1", path)
    options = {"DATASETS__TRAIN": ("round1",), "MODEL__WEIGHTS": weights, "MODEL__ROI_MASK_HEAD__CONFIDENCE": "none"}
    hard = {"DATALOADER__COPY_PASTE_SELECTION": "random", "DATALOADER__COPY_PASTE_BLEND": "hard"}
    train(make_cfg("again", **options, **hard))
