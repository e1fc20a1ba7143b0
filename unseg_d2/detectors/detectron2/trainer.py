"""Train with Detectron2's optimiser, schedule, hooks and loop, and with the loader and checkpoints of this project.

``DefaultTrainer`` builds its loader before it knows where a run resumes, its distributed model on a GPU only, and
pickled checkpoints, so its subclass assembles the parts itself, as in Detectron2's own tools for LazyConfig.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode as Detectron2CfgNode
from detectron2.config import get_cfg as detectron2_defaults
from detectron2.engine import (
    AMPTrainer,
    DefaultTrainer,
    HookBase,
    SimpleTrainer,
    create_ddp_model,
    default_writers,
    hooks,
)
from detectron2.engine.train_loop import TrainerBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.modeling import build_model
from detectron2.solver import get_default_optimizer_params
from detectron2.solver.build import maybe_add_gradient_clipping
from detectron2.utils import comm
from detectron2.utils.events import EventWriter
from detectron2.utils.logger import setup_logger
from msgspec.structs import replace
from torch import nn

from unseg_d2.config import edited
from unseg_d2.config.load import as_values
from unseg_d2.config.scaling import scale_to_world_size
from unseg_d2.data.settings import DataLoaderSettings, DatasetSettings
from unseg_d2.description import measured
from unseg_d2.detectors.about import describe_resumed, describe_training
from unseg_d2.detectors.checkpoints import say_random
from unseg_d2.detectors.detectron2.checkpointer import ENGINE, SafeCheckpointer
from unseg_d2.detectors.detectron2.config import to_detectron2
from unseg_d2.detectors.detectron2.evaluator import ClassAgnosticEvaluator
from unseg_d2.detectors.detectron2.inputs import ResumableInputs, TestInputs
from unseg_d2.detectors.detectron2.mapper import check_keys
from unseg_d2.detectors.detectron2.records import check_annotated, dataset_records, hint_at_registration
from unseg_d2.detectors.detectron2.scores_beside import Collected, ScoresBeside
from unseg_d2.detectors.detectron2.step import NoTracebackOfUserErrors, TrainingStep
from unseg_d2.detectors.detectron2.tracking import Outlook, TrackerWriter
from unseg_d2.detectors.learning_rates import faster_modules
from unseg_d2.detectors.scoring import scored_beside
from unseg_d2.detectors.training_data import train_loaders
from unseg_d2.devices import resolve_device
from unseg_d2.loop.best import refuse_choices
from unseg_d2.loop.checkpoint import FINAL
from unseg_d2.loop.distributed import resolve_seed, share_statistics
from unseg_d2.loop.events import PERIOD
from unseg_d2.loop.precision import set_up_torch
from unseg_d2.loop.trackers import open_tracker

logger = logging.getLogger(__name__)
_NO_TRACEBACK = NoTracebackOfUserErrors()


class UnsegTrainer(DefaultTrainer):
    """Detectron2's ``DefaultTrainer`` with what the recipes of this project ask for.

    The loader is that of ``unseg-d2 train-net``, with copy-paste, scores and spatial confidence; a resumed run goes on
    with the batch that was next. ``SOLVER.BASE_LR_MULTIPLIER`` and ``SOLVER.REFERENCE_WORLD_SIZE`` have their effect,
    checkpoints are written completely and read without running code, and ``TEST.EVALUATORS`` compute the metrics. Every
    ``build_*`` method can be overridden as usual.

    Args:
        cfg: Detectron2 configuration with the keys of `add_unseg_config`; it is not changed.

    Raises:
        UnsegError: the training set lacks what the configuration asks for, or a value does not work.
    """

    evaluates_at_end = True
    """Whether to evaluate on ``DATASETS.TEST`` after the last iteration, as ``DefaultTrainer`` does."""

    def __init__(self, cfg: Detectron2CfgNode) -> None:
        TrainerBase.__init__(self)
        self._set_up_logging()
        self.recipe, self.cfg = cfg, _prepared(cfg)
        cfg = self.cfg
        set_up_torch(cfg)
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        inputs = self.build_train_loader(cfg)
        device = torch.device(cfg.MODEL.DEVICE)
        device_ids = [torch.cuda.current_device()] if device.type == "cuda" else None
        parallel = create_ddp_model(model, broadcast_buffers=False, device_ids=device_ids)
        arguments = (TrainingStep(parallel, cfg.SEED), inputs, optimizer)
        scaler = torch.amp.GradScaler("cuda") if cfg.SOLVER.AMP.ENABLED else None
        self._trainer = AMPTrainer(*arguments, grad_scaler=scaler) if scaler else SimpleTrainer(*arguments)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        parts = {"optimizer": optimizer, "scheduler": self.scheduler} | ({"grad_scaler": scaler} if scaler else {})
        self.checkpointer = SafeCheckpointer(model, cfg.OUTPUT_DIR, trust=cfg.MODEL.TRUST_CHECKPOINT, **parts)
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.writers: list[EventWriter] = []
        self.register_hooks(self.build_hooks())

    @property
    def model(self) -> nn.Module:
        """The network; wrapped by torch where there are several processes."""
        return self._trainer.model.model

    @model.setter
    def model(self, value: nn.Module) -> None:
        self._trainer.model = TrainingStep(value, self.cfg.SEED)

    def resume_or_load(self, resume: bool = True) -> None:
        """Restore the last checkpoint in ``OUTPUT_DIR`` if there is one, or load ``MODEL.WEIGHTS``.

        Args:
            resume: restore; otherwise the weights are loaded in any case.

        Raises:
            UnsegError: the checkpoint does not fit, or is of another engine.
        """
        state = self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        resumed = resume and self.checkpointer.has_checkpoint()
        if comm.is_main_process():
            describe = describe_resumed if resumed else describe_training
            self.checkpointer.about = describe(self.recipe, state, ENGINE, detectron2_defaults())
        self.start_iter = state["iteration"] + 1 if resumed else 0
        if not resumed and not self.cfg.MODEL.WEIGHTS and comm.is_main_process():
            say_random()
        if isinstance(self.data_loader, ResumableInputs):
            self.data_loader.start_at(self.start_iter)

    def train(self) -> dict[str, Any] | None:
        """Train to ``SOLVER.MAX_ITER``; the files of the log are closed at the end, also after an error.

        Returns:
            Metrics of the last evaluation, ``None`` where there was none.

        Raises:
            UnsegError: a loss is not finite, an image cannot be used, or the disk is full.
        """
        if self.start_iter >= self.max_iter:
            self._finish()
            return getattr(self, "_last_eval_results", None)
        try:
            super().train()
        finally:
            for writer in self.writers:
                writer.close()
        return getattr(self, "_last_eval_results", None)

    @classmethod
    def build_model(cls, cfg: Detectron2CfgNode) -> nn.Module:
        """Return Detectron2's network of the configuration, on its device."""
        return build_model(cfg)

    @classmethod
    def build_optimizer(cls, cfg: Detectron2CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """Return SGD as the configuration describes it; see the function `build_optimizer`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_train_loader(cls, cfg: Detectron2CfgNode) -> Iterable[list[dict[str, Any]]]:
        """Return the endless batches of this process from ``DATASETS.TRAIN``, of registered or other data sets.

        Raises:
            UnsegError: a data set lacks what the configuration asks for, or a key would have no effect.
        """
        for settings in (DatasetSettings, DataLoaderSettings):
            settings.from_config(cfg)  # refuses what only Detectron2's own loader does
        with hint_at_registration(cfg.DATASETS.TRAIN):
            return ResumableInputs(train_loaders(cfg, dataset_records), cfg)

    @classmethod
    def build_test_loader(cls, cfg: Detectron2CfgNode, dataset_name: str) -> TestInputs:
        """Return this process's share of the images of a data set."""
        return TestInputs(dataset_records(dataset_name, cfg)[comm.get_rank() :: comm.get_world_size()], cfg)

    @classmethod
    def build_evaluator(cls, cfg: Detectron2CfgNode, dataset_name: str) -> ClassAgnosticEvaluator:
        """Return what computes the metrics of ``TEST.EVALUATORS`` on a data set."""
        return ClassAgnosticEvaluator(dataset_name, cfg)

    def build_writers(self) -> list[EventWriter]:
        """Return what writes the log: lines on the terminal, ``metrics.json``, TensorBoard and the tracker."""
        self.writers = default_writers(self.cfg.OUTPUT_DIR, self.max_iter)
        tracker = open_tracker(self.cfg.TRACKER, Path(self.cfg.OUTPUT_DIR), as_values(self.cfg))
        if tracker is not None:
            self.writers.append(TrackerWriter(tracker))
        return self.writers

    def build_hooks(self) -> list[HookBase]:
        """Return the hooks of ``DefaultTrainer``; checkpoints come after the evaluation, whose metrics they record."""
        cfg = self.cfg
        result: list[HookBase] = [hooks.IterationTimer(), hooks.LRScheduler(scheduler=self.scheduler)]
        if cfg.TEST.PRECISE_BN.ENABLED:
            plain = edited(cfg, {"DATALOADER.COPY_PASTE": False, "DATALOADER.NUM_WORKERS": 0})
            # At the end only: statistics that depend on when the training was interrupted would not be reproducible.
            batches = self.build_train_loader(plain)
            result.append(hooks.PreciseBN(0, self.checkpointer.model, batches, cfg.TEST.PRECISE_BN.NUM_ITER))
        for name in cfg.DATASETS.TEST:
            check_annotated(name, cfg)
        if cfg.DATASETS.TEST:
            result.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, self._evaluate, self.evaluates_at_end))
        if comm.is_main_process():
            result.append(hooks.PeriodicCheckpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD))
            result.append(hooks.PeriodicWriter(self.build_writers(), period=PERIOD))
            result.append(Outlook())
        return result

    def _set_up_logging(self) -> None:
        """Print progress, as ``DefaultTrainer`` does, where nobody has set up Detectron2's log."""
        if not any(logging.getLogger(name).handlers for name in ("detectron2", "unseg_d2")):
            setup_logger()
        share_log()

    def _evaluate(self) -> dict[str, Any]:
        share_statistics(self.model)
        self._last_eval_results: dict[str, Any] = self.test(self.cfg, self.model)
        if not comm.is_main_process():
            return {}
        metrics = flatten_results_dict(self._last_eval_results)
        found = measured(self.cfg.DATASETS.TEST, getattr(self, "iter", self.start_iter), metrics)
        self.checkpointer.about = replace(self.checkpointer.about, measured=found)
        return self._last_eval_results

    def _finish(self) -> None:
        """Nothing is left to train: evaluate, and write the final checkpoint if the run was killed just before that."""
        logger.info("The training in %s is finished; nothing to do.", self.cfg.OUTPUT_DIR)
        final = Path(self.cfg.OUTPUT_DIR) / FINAL
        if not final.is_file():
            self.checkpointer.save(final.stem, iteration=self.start_iter - 1)
        comm.synchronize()
        if self.evaluates_at_end and self.cfg.DATASETS.TEST:
            self._evaluate()


class EngineTrainer(UnsegTrainer):
    """The trainer of ``unseg-d2 train-net``, which evaluates by itself afterwards.

    Large evaluations on the way are scored by another process while the training continues; in trainers of users' own,
    hooks may ask for the metrics at once.
    """

    evaluates_at_end = False
    beside: ScoresBeside | None = None

    def train(self) -> dict[str, Any] | None:
        """Train to ``SOLVER.MAX_ITER``; see `UnsegTrainer.train`."""
        if self.beside is None:
            return super().train()
        with closing(self.beside.scorer) as scorer:
            scorer.resume(self.start_iter)
            if self.start_iter >= self.max_iter:
                self.beside.take(wait=True)
            return super().train()

    def build_hooks(self) -> list[HookBase]:
        """Return the hooks of `UnsegTrainer`, and what takes the metrics before checkpoints are written."""
        result = super().build_hooks()
        for place, hook in enumerate(result):
            if isinstance(hook, hooks.PeriodicCheckpointer):
                self.beside = ScoresBeside(self.recipe, self.checkpointer, self.writers)
                result.insert(place, self.beside)
                break
        return result

    def _set_up_logging(self) -> None:
        share_log()

    def _evaluate(self) -> dict[str, Any]:
        names = self.cfg.DATASETS.TEST
        prefixes = [f"{name}/" if len(names) > 1 else "" for name in names]
        collected = [Collected(self.build_evaluator(self.cfg, name), prefix) for name, prefix in zip(names, prefixes)]
        if not scored_beside([one.found for one in collected]):
            return super()._evaluate()
        share_statistics(self.model)
        self.test(self.cfg, self.model, collected)
        if self.beside is not None:
            self.beside.keep(self.iter, [one.found for one in collected])
        return {}


def build_optimizer(cfg: Detectron2CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """Return Detectron2's SGD with gradient clipping and CutLER's factor on the learning rate.

    Args:
        cfg: Detectron2 configuration with the keys of this project.
        model: network; the modules ``SOLVER.BASE_LR_MULTIPLIER_NAMES`` (``roi_heads.mask_head.predictor`` ...) learn
            ``SOLVER.BASE_LR_MULTIPLIER`` times as fast.
    """
    names = faster_modules(cfg, model)

    def factor(parameter: str) -> float:
        return float(cfg.SOLVER.BASE_LR_MULTIPLIER) if parameter.rpartition(".")[0] in names else 1.0

    parameters = get_default_optimizer_params(
        model,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        lr_factor_func=factor if names else None,
    )
    optimizer = torch.optim.SGD(
        parameters,
        lr=cfg.SOLVER.BASE_LR,
        momentum=cfg.SOLVER.MOMENTUM,
        nesterov=cfg.SOLVER.NESTEROV,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        foreach=True,
    )
    return maybe_add_gradient_clipping(cfg, optimizer)


def _prepared(cfg: Detectron2CfgNode) -> Detectron2CfgNode:
    """Return a configuration scaled to the number of processes, with a seed, and with what this machine can do."""
    check_keys(cfg)
    refuse_choices(cfg, "Detectron2's engine")
    resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE")  # raises if there is no such device
    scaled, arithmetic = scale_to_world_size(cfg, comm.get_world_size())
    for line in arithmetic:
        logger.info(line)
    return to_detectron2(edited(scaled, SEED=resolve_seed(cfg.SEED)))


def share_log() -> None:
    """Where only this project's handlers are set up, or only Detectron2's, send the messages of both to them."""
    logging.getLogger("detectron2.engine.train_loop").addFilter(_NO_TRACEBACK)
    ours, theirs = logging.getLogger("unseg_d2"), logging.getLogger("detectron2")
    if ours.handlers and not theirs.handlers:
        theirs.handlers = ours.handlers
        theirs.setLevel(ours.getEffectiveLevel())
        theirs.propagate = False
    elif theirs.handlers and not ours.handlers:
        ours.handlers = theirs.handlers
        ours.setLevel(theirs.getEffectiveLevel())
