"""One training loop for small networks on frozen features: saliency and semantic segmentation.

A task provides four things:

- a network, whose ``state_dict`` holds everything that training changes apart from the optimiser: an average of its
  weights is a submodule, a counter is a buffer;
- an optimiser of its parameters;
- ``make_batch(t)``, the batch of step ``t``, a function of ``t`` alone; its random numbers come from a generator that
  it seeds with (SEED, t) itself, see `batches.batch_rng`, so that the number of loader processes makes no difference;
- ``losses(batch, t)``, the weighted losses by name, whose sum is minimised. Torch has been seeded with (SEED, t).

So step ``t`` depends only on ``t`` and the state before it, and a run that is killed and resumed ends in the same state
as an uninterrupted one.

    settings = StepSettings.from_config(cfg)
    final = train_steps(network.to(settings.device), optimizer, make_batch, losses, settings, resume=True)

``OUTPUT_DIR`` receives the same files as the training of a detector: ``model_0000079.pth``, ``model_final.pth``,
``last_checkpoint``, ``metrics.json`` (one JSON object per line), a TensorBoard file and, if the recipe is known,
``config.yaml``.
"""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from unseg_d2.description import measured
from unseg_d2.devices import resolve_device
from unseg_d2.files import atomic_write
from unseg_d2.loop.batches import batch_stream
from unseg_d2.loop.best import refuse_choices
from unseg_d2.loop.checkpoint import (
    FINAL,
    last_checkpoint,
    load_checkpoint,
    restore_network,
    restore_training,
    write_checkpoint,
)
from unseg_d2.loop.distributed import resolve_seed, seed_iteration
from unseg_d2.loop.events import TrainingLog
from unseg_d2.loop.losses import diverged, total_loss
from unseg_d2.loop.precision import mixed_precision
from unseg_d2.loop.recipes import check_recipe
from unseg_d2.loop.schedule import is_due
from unseg_d2.loop.trackers import check_tracker, open_tracker

Batch = TypeVar("Batch")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepSettings:
    """Settings of the training loop, the same for every task.

    Attributes:
        output: folder of checkpoints and logs.
        max_iter: number of steps.
        batch_size: images per step, for the images per second in the log.
        device: of the network.
        seed: not negative.
        checkpoint_period: steps between checkpoints; 0 writes the final one only.
        eval_period: steps between evaluations; 0 means never.
        amp: use mixed precision; CUDA only.
        num_workers: processes that make batches; 0 makes them in this one.
        tracker: service that gets the numbers too; see `unseg_d2.loop.trackers`.
        test_sets: what evaluations are on, for the checkpoints that record their metrics.
        may_change: prefixes of the task's keys that may differ when a training is resumed, such as ``MYTASK.TEST.``.
    """

    output: Path
    max_iter: int
    batch_size: int
    device: torch.device
    seed: int
    checkpoint_period: int
    eval_period: int
    amp: bool
    num_workers: int
    tracker: str
    may_change: tuple[str, ...] = ()
    test_sets: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> StepSettings:
        """Return the settings of a recipe; a negative ``SEED`` is replaced by a random one."""
        device = resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE")
        check_tracker(cfg.TRACKER)
        refuse_choices(cfg, "the training of a small network")
        return cls(
            output=Path(cfg.OUTPUT_DIR),
            max_iter=cfg.SOLVER.MAX_ITER,
            batch_size=cfg.SOLVER.IMS_PER_BATCH,
            seed=resolve_seed(cfg.SEED),
            device=device,
            checkpoint_period=cfg.SOLVER.CHECKPOINT_PERIOD,
            eval_period=cfg.TEST.EVAL_PERIOD,
            amp=mixed_precision(cfg, device),
            num_workers=cfg.DATALOADER.NUM_WORKERS,
            tracker=cfg.TRACKER,
            test_sets=tuple(cfg.DATASETS.TEST),
        )


def train_steps(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    make_batch: Callable[[int], Batch],
    losses: Callable[[Batch, int], dict[str, Tensor]],
    settings: StepSettings,
    *,
    resume: bool = False,
    after_step: Callable[[int], None] | None = None,
    evaluate: Callable[[int], dict[str, float]] | None = None,
    about: dict[str, Any] | None = None,
) -> Path:
    """Train a network, or resume its training from the last checkpoint.

    Args:
        network: on ``settings.device``.
        optimizer: of its parameters.
        make_batch: returns the batch of a step.
        losses: returns the weighted losses of a batch; called under autocast if ``settings.amp`` is set.
        settings: see :class:`StepSettings`.
        resume: start from the last checkpoint in ``settings.output`` if there is one.
        after_step: called with ``t`` after the optimiser's step, for example to average weights.
        evaluate: returns metrics to log, every ``settings.eval_period`` steps; may put the network in evaluation mode.
        about: plain values that go into every checkpoint, such as those needed to rebuild the network. If there is a
            ``recipe`` (YAML) among them, it is also written to ``config.yaml``, and a training can be resumed only with
            the recipe that it was started with.

    Returns:
        ``settings.output/model_final.pth``.

    Raises:
        UnsegError: a loss is not finite, a checkpoint or its recipe does not fit, or the disk is full.
    """
    scaler = torch.amp.GradScaler(settings.device.type, enabled=settings.amp)
    final = settings.output / FINAL
    about = dict(about or {})
    start = _restore(network, optimizer, scaler, settings, about) if resume else 0
    if start >= settings.max_iter and final.is_file():
        logger.info("The training in %s is finished; nothing to do.", settings.output)
        return final
    if "recipe" in about:
        with atomic_write(settings.output / "config.yaml") as file:
            file.write(about["recipe"].encode())
    tracker = open_tracker(settings.tracker, settings.output, {"recipe": about.get("recipe", "")})
    with TrainingLog(settings.output, start, settings.max_iter, settings.batch_size, tracker) as log:
        batches = batch_stream(make_batch, start, settings.max_iter, settings.num_workers)
        network.train()
        for t in range(start, settings.max_iter):
            waiting = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - waiting
            values = train_step(network, optimizer, scaler, functools.partial(losses, batch, t), settings, t)
            if after_step is not None:
                after_step(t)
            log.step(t, values, optimizer.param_groups[0]["lr"], waited)
            if evaluate is not None and is_due(t, settings.eval_period):
                metrics = evaluate(t)
                log.metrics(t, metrics)
                about = _with_metrics(about, settings, t, metrics)
                network.train()
            if is_due(t, settings.checkpoint_period):  # after the evaluation, whose metrics it records
                _save(f"model_{t:07d}.pth", network, optimizer, scaler, settings, t, about)
        _save(FINAL, network, optimizer, scaler, settings, settings.max_iter - 1, about)
    return final


def train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    losses: Callable[[], dict[str, Tensor]],
    settings: StepSettings,
    t: int,
) -> dict[str, float]:
    """Seed torch, run forward and backward passes and update the weights; return the value of each loss.

    Raises:
        UnsegError: a loss is not finite; nothing has been updated.
    """
    seed_iteration(settings.seed, t, 0)
    with torch.autocast(settings.device.type, enabled=settings.amp, dtype=torch.float16):
        parts = losses()
    values = dict(zip(parts, torch.stack([part.detach().float() for part in parts.values()]).tolist()))
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        raise diverged(f"step {t}", broken)
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(total_loss(parts)).backward()
    scaler.step(optimizer)
    scaler.update()
    return values


def _restore(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    settings: StepSettings,
    about: dict[str, Any],
) -> int:
    """Load the last checkpoint if there is one, its metrics into ``about``, and return the next step."""
    path = last_checkpoint(settings.output)
    if path is None:
        return 0
    if not path.is_file():  # nor any earlier one, so there is nothing to resume or to lose
        logger.warning("There is no %s any more, nor an earlier checkpoint; the training begins anew.", path)
        return 0
    checkpoint = load_checkpoint(path)
    if "recipe" in about:
        check_recipe(checkpoint, path, about, settings.may_change)
    restore_network(network, checkpoint, path)
    start = restore_training(optimizer, scaler, checkpoint, path)
    about |= {key: checkpoint[key] for key in ("measured",) if key in checkpoint}
    logger.info("Resuming from %s at step %d.", path, start)
    return start


def _with_metrics(about: dict[str, Any], settings: StepSettings, t: int, metrics: dict[str, float]) -> dict[str, Any]:
    """Return what goes into checkpoints, with the metrics of an evaluation."""
    return about | msgspec.to_builtins({"measured": measured(settings.test_sets, t, metrics)})


def _save(
    name: str,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    settings: StepSettings,
    t: int,
    about: dict[str, Any],
) -> None:
    content = {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "grad_scaler": scaler.state_dict(),
        "iteration": t,
        **about,
    }
    write_checkpoint(settings.output / name, content)
    logger.info("Saved %s.", settings.output / name)
