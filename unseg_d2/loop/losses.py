"""The losses of one training step: their sum, and the error when one of them is not finite."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping

from torch import Tensor

from unseg_d2.errors import UnsegError


def total_loss(losses: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of scalar losses, added in their order.

    Raises:
        ValueError: there are none.
    """
    if not losses:
        raise ValueError("a training step needs at least one loss")
    return functools.reduce(operator.add, losses.values())


def diverged(step: str, names: Iterable[str], files: Iterable[str] = ()) -> UnsegError:
    """Return the error of a training step with losses that are not finite.

    Args:
        step: which one, such as "iteration 7".
        names: of the losses.
        files: the images of the step, if they are known.
    """
    broken, images = ", ".join(names), ", ".join(files)
    if not images:
        return UnsegError(f"Stopped at {step}: {broken} is not finite. Lower SOLVER.BASE_LR.")
    return UnsegError(
        f"Stopped at {step}: {broken} is not finite for the images {images}. "
        "Lower SOLVER.BASE_LR, enable SOLVER.CLIP_GRADIENTS or inspect these images."
    )
