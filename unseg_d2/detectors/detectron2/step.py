"""What a training step of Detectron2 lacks: a seed of its own, and a clear stop when the loss is not finite."""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.distributed as distributed
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from unseg_d2.errors import UnsegError
from unseg_d2.loop.distributed import seed_iteration


class TrainingStep(nn.Module):
    """Wrap a network for training: step ``t`` draws the same whether or not the run was interrupted before it.

    When a loss is not finite in one process, all of them stop and the images are named. Detectron2 by itself raises in
    one process, which leaves the others waiting, and does not say on what.

    Args:
        model: takes a list of dicts with ``file_name``, and returns a dict of losses.
        seed: ``SEED`` of the recipe, not negative.
    """

    def __init__(self, model: nn.Module, seed: int) -> None:
        super().__init__()
        self.model = model
        self.seed = seed

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Raises:
            UnsegError: a loss is not finite here or in another process.
        """
        # Seeded here and not in a hook before the step: the first batch of a loader draws from torch, too.
        seed_iteration(self.seed, get_event_storage().iter, comm.get_rank())
        try:
            losses = self.model(batch)
            finite = torch.stack([loss.detach().float() for loss in losses.values()]).isfinite().tolist()
            broken = [name for name, good in zip(losses, finite) if not good]
        except (FloatingPointError, AssertionError) as error:  # the proposal generator; the boxes of a cascade
            if "NaN" not in str(error):
                raise
            losses, broken = {}, ["a predicted box"]
        if _in_any_process(bool(broken)):
            raise _diverged(broken, [str(data["file_name"]) for data in batch])
        return losses


class NoTracebackOfUserErrors(logging.Filter):
    """Keeps Detectron2's loop from printing a traceback of an error that is told in one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be printed."""
        return not (record.exc_info and isinstance(record.exc_info[1], UnsegError))


def _in_any_process(flag: bool) -> bool:
    if comm.get_world_size() == 1:
        return flag
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    flags = torch.tensor(int(flag), device=device)
    distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
    return bool(flags)


def _diverged(broken: list[str], files: list[str]) -> UnsegError:
    reports = comm.all_gather((broken, files if broken else []))
    names = sorted({name for names, _ in reports for name in names})
    images = ", ".join(file for _, files in reports for file in files)
    return UnsegError(
        f"Stopped: {', '.join(names)} is not finite for the images {images}. "
        "Lower SOLVER.BASE_LR, switch on SOLVER.CLIP_GRADIENTS or look at these images."
    )
