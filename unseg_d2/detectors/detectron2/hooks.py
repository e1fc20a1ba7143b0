"""What a training loop of Detectron2 lacks: a seed per iteration, and a clear stop when the loss is not finite."""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.distributed as distributed
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import nn

from unseg_d2.detectors.builtin.distributed import seed_iteration
from unseg_d2.errors import UnsegError


class SeedIteration(HookBase):
    """Seed torch before every step, so that a resumed run draws what an uninterrupted one would.

    Args:
        seed: ``SEED`` of the recipe.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_step(self) -> None:
        """Seed the sampling of anchors and regions of this iteration and process."""
        seed_iteration(self.seed, self.trainer.iter, comm.get_rank())


def stop_on_non_finite_loss(model: nn.Module) -> None:
    """Make a network raise in all processes when its loss is not finite in one of them.

    Detectron2 raises in the main process only, which leaves the others waiting for it, and does not say on what.

    Args:
        model: takes a list of dicts with ``file_name`` and returns a dict of losses while training; the hook is
            registered on it. A ``DistributedDataParallel`` wrapper is fine.
    """
    model.register_forward_hook(_check_losses)


def _check_losses(model: nn.Module, arguments: tuple[Any, ...], losses: dict[str, torch.Tensor]) -> None:
    if not model.training:
        return
    finite = torch.isfinite(sum(loss.detach() for loss in losses.values()))
    if comm.get_world_size() > 1:
        finite = finite.float()
        distributed.all_reduce(finite, op=distributed.ReduceOp.MIN)
    if finite:
        return
    wrong = [name for name, loss in losses.items() if not torch.isfinite(loss)]
    files = [data.get("file_name", "?") for data in arguments[0]] if wrong else []
    found = comm.all_gather((wrong, files))
    names = sorted({name for names, _ in found for name in names})
    raise UnsegError(
        f"Stopped: {', '.join(names)} is not finite for the images "
        f"{', '.join(str(file) for _, files in found for file in files)}. "
        "Lower SOLVER.BASE_LR, switch on SOLVER.CLIP_GRADIENTS or look at these images."
    )


class NoTracebackOfUserErrors(logging.Filter):
    """Keeps Detectron2's loop from printing a traceback of an error that is told in one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be printed."""
        return not (record.exc_info and isinstance(record.exc_info[1], UnsegError))
