"""What a training step of Detectron2 lacks: a seed of its own, and a clear error if a loss is not finite."""

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
from unseg_d2.loop.losses import diverged


class TrainingStep(nn.Module):
    """Wrap a network for training: the random numbers of step ``t`` do not depend on whether the run was interrupted.

    If a loss is not finite in one process, all of them stop and the images are named. Detectron2 by itself raises in
    that process only, which leaves the others waiting, and does not name the images.

    Args:
        model: takes a list of dicts with ``file_name``, and returns a dict of losses.
        seed: ``SEED`` of the recipe, not negative.
    """

    def __init__(self, model: nn.Module, seed: int) -> None:
        super().__init__()
        self.model = model
        self.seed = seed

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return the losses of a batch; called within a training loop of Detectron2, which counts the iterations.

        Raises:
            UnsegError: a loss is not finite here or in another process.
        """
        # Seeded here and not in a hook before the step, because the first batch of a loader draws from torch too.
        iteration = get_event_storage().iter
        seed_iteration(self.seed, iteration, comm.get_rank())
        try:
            losses = self.model(batch)
            finite = torch.stack([loss.detach().float() for loss in losses.values()]).isfinite().tolist()
            broken = [name for name, good in zip(losses, finite) if not good]
        except (FloatingPointError, AssertionError) as error:  # the proposal generator; the boxes of a cascade
            if "NaN" not in str(error):
                raise
            losses, broken = {}, ["a predicted box"]
        if _in_any_process(bool(broken)):
            raise _diverged(iteration, broken, [str(data["file_name"]) for data in batch])
        return losses


class NoTracebackOfUserErrors(logging.Filter):
    """Keep Detectron2's loop from printing the traceback of an error that is reported in one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to print the record."""
        return not (record.exc_info and isinstance(record.exc_info[1], UnsegError))


def _in_any_process(flag: bool) -> bool:
    if comm.get_world_size() == 1:
        return flag
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    flags = torch.tensor(int(flag), device=device)
    distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
    return bool(flags)


def _diverged(iteration: int, broken: list[str], files: list[str]) -> UnsegError:
    reports = comm.all_gather((broken, files if broken else []))
    names = sorted({name for names, _ in reports for name in names})
    return diverged(f"iteration {iteration}", names, [file for _, files in reports for file in files])
