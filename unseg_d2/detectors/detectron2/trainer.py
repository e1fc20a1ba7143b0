"""Train with Detectron2's optimiser, schedule, hooks and loop, and with the loader and checkpoints of this project.

``DefaultTrainer`` builds its loader before it knows where a run resumes, and its distributed model on a GPU only, so
the parts are assembled here, as in Detectron2's own tools for LazyConfig.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode as Detectron2CfgNode
from detectron2.engine import AMPTrainer, HookBase, SimpleTrainer, create_ddp_model, default_writers, hooks
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler, get_default_optimizer_params
from detectron2.solver.build import maybe_add_gradient_clipping
from detectron2.utils import comm
from fvcore.common.config import CfgNode
from torch import nn

from unseg_d2.config import edited
from unseg_d2.detectors.detectron2.checkpointer import SafeCheckpointer
from unseg_d2.detectors.detectron2.config import to_detectron2
from unseg_d2.detectors.detectron2.inputs import TrainingInputs
from unseg_d2.detectors.detectron2.step import NoTracebackOfUserErrors, TrainingStep
from unseg_d2.detectors.learning_rates import faster_modules
from unseg_d2.detectors.training_data import LoaderFactory
from unseg_d2.devices import resolve_device
from unseg_d2.loop.checkpoint import FINAL
from unseg_d2.loop.distributed import resolve_seed
from unseg_d2.loop.events import PERIOD
from unseg_d2.loop.precision import set_up_torch

logger = logging.getLogger(__name__)
_NO_TRACEBACK = NoTracebackOfUserErrors()


def train(
    cfg: CfgNode,
    make_loader: LoaderFactory,
    *,
    resume: bool,
    evaluate: Callable[[nn.Module], dict[str, Any]] | None = None,
) -> Path:
    """Train from ``MODEL.WEIGHTS``, or resume from the last checkpoint; every process calls this.

    Args:
        cfg: frozen recipe, already rescaled to the number of processes.
        make_loader: returns the batches of this process from an iteration on.
        resume: start from the last checkpoint in ``OUTPUT_DIR`` if there is one.
        evaluate: called every ``TEST.EVAL_PERIOD`` iterations in all processes; in the main one it returns metrics.

    Returns:
        ``OUTPUT_DIR/model_final.pth``.

    Raises:
        UnsegError: a loss is not finite, a checkpoint does not fit, or the disk is full.
    """
    device = resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE")
    cfg = edited(cfg, SEED=resolve_seed(cfg.SEED))
    translated = to_detectron2(cfg)
    set_up_torch(cfg)
    _set_up_logging()
    model = build_model(translated)
    optimizer = build_optimizer(translated, model)
    scheduler = build_lr_scheduler(translated, optimizer)
    scaler = torch.amp.GradScaler("cuda") if translated.SOLVER.AMP.ENABLED else None
    parts = {"optimizer": optimizer, "scheduler": scheduler} | ({"grad_scaler": scaler} if scaler else {})
    checkpointer = SafeCheckpointer(model, cfg.OUTPUT_DIR, trust=cfg.MODEL.TRUST_CHECKPOINT, **parts)
    state = checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    start = state["iteration"] + 1 if resume and checkpointer.has_checkpoint() else 0
    if start >= cfg.SOLVER.MAX_ITER:
        return _finish(cfg, checkpointer, start)
    device_ids = [device.index] if device.type == "cuda" else None
    parallel = create_ddp_model(model, broadcast_buffers=False, device_ids=device_ids)
    arguments = (TrainingStep(parallel, cfg.SEED), TrainingInputs(make_loader(cfg, start), cfg), optimizer)
    trainer = AMPTrainer(*arguments, grad_scaler=scaler) if scaler else SimpleTrainer(*arguments)
    trainer.register_hooks(build_hooks(cfg, model, make_loader, checkpointer, scheduler, evaluate))
    trainer.train(start, cfg.SOLVER.MAX_ITER)
    return Path(cfg.OUTPUT_DIR) / FINAL


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


def build_hooks(
    cfg: CfgNode,
    model: nn.Module,
    make_loader: LoaderFactory,
    checkpointer: SafeCheckpointer,
    scheduler: Any,
    evaluate: Callable[[nn.Module], dict[str, Any]] | None = None,
) -> list[HookBase]:
    """Return the hooks of a training, in the order of Detectron2's ``DefaultTrainer``."""
    result: list[HookBase] = [hooks.IterationTimer(), hooks.LRScheduler(scheduler=scheduler)]
    if cfg.TEST.PRECISE_BN.ENABLED:
        plain = edited(cfg, {"DATALOADER.COPY_PASTE": False, "DATALOADER.NUM_WORKERS": 0})
        # At the end only: statistics that depend on when the training was interrupted would not be reproducible.
        inputs = TrainingInputs(make_loader(plain, 0), plain)
        result.append(hooks.PreciseBN(0, model, inputs, cfg.TEST.PRECISE_BN.NUM_ITER))
    if comm.is_main_process():
        result.append(hooks.PeriodicCheckpointer(checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD))
    if evaluate and cfg.TEST.EVAL_PERIOD:
        result.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, lambda: evaluate(model), eval_after_train=False))
    if comm.is_main_process():
        writers = default_writers(cfg.OUTPUT_DIR, cfg.SOLVER.MAX_ITER)
        result.append(hooks.PeriodicWriter(writers, period=PERIOD))
    return result


def _set_up_logging() -> None:
    """Send Detectron2's progress to the handlers of this project, unless the caller has set up others."""
    logging.getLogger("detectron2.engine.train_loop").addFilter(_NO_TRACEBACK)
    ours, theirs = logging.getLogger("unseg_d2"), logging.getLogger("detectron2")
    if ours.handlers and not theirs.handlers:
        theirs.handlers = ours.handlers
        theirs.setLevel(ours.getEffectiveLevel())
        theirs.propagate = False


def _finish(cfg: CfgNode, checkpointer: SafeCheckpointer, start: int) -> Path:
    """Return the final checkpoint of a finished training; write it if the process was killed just before that."""
    logger.info("The training in %s is finished; nothing to do.", cfg.OUTPUT_DIR)
    final = Path(cfg.OUTPUT_DIR) / FINAL
    if not final.is_file():
        checkpointer.save(final.stem, iteration=start - 1)
    comm.synchronize()
    return final
