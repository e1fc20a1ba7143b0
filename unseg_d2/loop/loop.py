"""One training loop for small networks on frozen features: saliency and semantic segmentation.

A task hands over four things:

- a network, whose ``state_dict`` holds everything that training changes besides the optimiser: an average of its
  weights is a module within it, a counter a buffer;
- an optimiser of its parameters;
- ``make_batch(t)``, the batch of step ``t``, a function of ``t`` alone; whatever it draws at random comes from a
  generator that it seeds with (SEED, t) itself, see `batches.batch_rng`, so that loader processes make no difference;
- ``losses(batch, t)``, the weighted losses by name, whose sum is minimised. Torch has been seeded with (SEED, t).

So step ``t`` depends on ``t`` and the state before it only, and a killed and resumed run ends in the same state as an
uninterrupted one.

    settings = StepSettings.from_config(cfg)
    final = train_steps(network.to(settings.device), optimizer, make_batch, losses, settings, resume=True)

In ``OUTPUT_DIR`` lie the files that the detectors' training writes too: ``model_0000079.pth``, ``model_final.pth``,
``last_checkpoint``, ``metrics.json`` (a JSON object per line), a TensorBoard file and, where the recipe is known,
``config.yaml``.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.loop.batches import batch_stream
from unseg_d2.loop.checkpoint import FINAL, last_checkpoint, load_checkpoint, restore_network, write_checkpoint
from unseg_d2.loop.distributed import resolve_seed, seed_iteration
from unseg_d2.loop.events import TrainingLog
from unseg_d2.loop.recipes import check_recipe
from unseg_d2.loop.schedule import is_due

Batch = TypeVar("Batch")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepSettings:
    """What a training loop has to know besides its task.

    Attributes:
        output: folder of checkpoints and logs.
        max_iter: steps in all.
        batch_size: images per step, for the images per second.
        device: where the network is.
        seed: not negative.
        checkpoint_period: steps between checkpoints; 0 writes the final one only.
        eval_period: steps between evaluations; 0 is never.
        amp: mixed precision; CUDA only.
        num_workers: processes that make batches; 0 makes them in this one.
        may_change: beginnings of the task's keys that a resumed training may have otherwise, such as ``MYTASK.TEST.``.
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
    may_change: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> StepSettings:
        """Return the settings of a recipe; ``SEED`` is drawn where it is negative."""
        device = resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE")
        if cfg.SOLVER.AMP.ENABLED and device.type != "cuda":
            logger.info("Mixed precision needs CUDA; training in float32.")
        return cls(
            output=Path(cfg.OUTPUT_DIR),
            max_iter=cfg.SOLVER.MAX_ITER,
            batch_size=cfg.SOLVER.IMS_PER_BATCH,
            seed=resolve_seed(cfg.SEED),
            device=device,
            checkpoint_period=cfg.SOLVER.CHECKPOINT_PERIOD,
            eval_period=cfg.TEST.EVAL_PERIOD,
            amp=cfg.SOLVER.AMP.ENABLED and device.type == "cuda",
            num_workers=cfg.DATALOADER.NUM_WORKERS,
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
    """Train a network, or go on from the last checkpoint.

    Args:
        network: on ``settings.device``.
        optimizer: of its parameters.
        make_batch: batch of a step.
        losses: weighted losses of a batch, under autocast where ``settings.amp`` asks for it.
        settings: see :class:`StepSettings`.
        resume: go on from the last checkpoint in ``settings.output`` where there is one.
        after_step: called with ``t`` after the optimiser's step, for averages of weights.
        evaluate: figures to log every ``settings.eval_period`` steps; it may switch the network to evaluation.
        about: plain values that go into every checkpoint, such as what is needed to build the network again; with a
            ``recipe`` (YAML) among them, which is also written to ``config.yaml``, a training is resumed only with the
            recipe that it began with.

    Returns:
        ``settings.output/model_final.pth``.

    Raises:
        UnsegError: a loss is not finite, a checkpoint or its recipe does not fit, or the disk is full.
    """
    scaler = torch.amp.GradScaler(settings.device.type, enabled=settings.amp)
    final = settings.output / FINAL
    start = _restore(network, optimizer, scaler, settings, about or {}) if resume else 0
    if start >= settings.max_iter and final.is_file():
        logger.info("The training in %s is finished; nothing to do.", settings.output)
        return final
    if about and "recipe" in about:
        with atomic_write(settings.output / "config.yaml") as file:
            file.write(about["recipe"].encode())
    log = TrainingLog(settings.output, start, settings.max_iter, settings.batch_size)
    batches = batch_stream(make_batch, start, settings.max_iter, settings.num_workers)
    network.train()
    for t in range(start, settings.max_iter):
        waiting = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - waiting
        values = train_step(network, optimizer, scaler, lambda batch=batch, t=t: losses(batch, t), settings, t)
        if after_step is not None:
            after_step(t)
        log.step(t, values, optimizer.param_groups[0]["lr"], waited)
        if is_due(t, settings.checkpoint_period):
            _save(f"model_{t:07d}.pth", network, optimizer, scaler, settings, t, about)
        if evaluate is not None and is_due(t, settings.eval_period):
            log.figures(t, evaluate(t))
            network.train()
    _save(FINAL, network, optimizer, scaler, settings, settings.max_iter - 1, about)
    log.close()
    return final


def train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    losses: Callable[[], dict[str, Tensor]],
    settings: StepSettings,
    t: int,
) -> dict[str, float]:
    """Seed, forward, backward and update; return each loss.

    Raises:
        UnsegError: a loss is not finite; nothing has been updated.
    """
    seed_iteration(settings.seed, t, 0)
    with torch.autocast(settings.device.type, enabled=settings.amp, dtype=torch.float16):
        parts = losses()
    values = dict(zip(parts, torch.stack([part.detach().float() for part in parts.values()]).tolist()))
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        raise UnsegError(f"Stopped at step {t}: {', '.join(broken)} is not finite. Lower SOLVER.BASE_LR.")
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(sum(parts.values())).backward()
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
    """Load the last checkpoint where there is one, and return the step that comes next."""
    path = last_checkpoint(settings.output)
    if path is None:
        return 0
    checkpoint = load_checkpoint(path)
    if "recipe" in about:
        check_recipe(checkpoint, path, about, settings.may_change)
    restore_network(network, checkpoint, path)
    optimizer.load_state_dict(checkpoint["optimizer"])
    scaler.load_state_dict(checkpoint["grad_scaler"])
    start = checkpoint["iteration"] + 1
    logger.info("Going on from %s at step %d.", path, start)
    return start


def _save(
    name: str,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    settings: StepSettings,
    t: int,
    about: dict[str, Any] | None,
) -> None:
    content = {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "grad_scaler": scaler.state_dict(),
        "iteration": t,
        **(about or {}),
    }
    write_checkpoint(settings.output / name, content)
    logger.info("Saved %s.", settings.output / name)
