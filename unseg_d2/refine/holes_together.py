"""Filling the holes of many masks at once, in whole-tensor steps that are the same for all of them; made for a card.

What is outside of a mask spreads from the border of the image along rows, then along columns, through runs of
background: a run with one pixel outside lies outside as a whole. Each step carries it around one more corner, so that
few steps suffice, whatever the size.

Shape legend
    n      masks
    H, W   height and width in pixels
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 4  # along rows and columns, until it is looked at whether anything has changed
MOST_PIXELS = 2**24  # of the masks that are filled at a time; each takes about 40 bytes meanwhile


def fill_holes_together(masks: Tensor) -> Tensor:
    """Set the background pixels that the mask encloses, as :func:`~unseg_d2.refine.holes.fill_holes` does.

    A card is waited for once per 2^24 pixels of masks, and once more for each further four steps that a bay winds.

    Args:
        masks: ``(n, H, W)`` bool, on any device.

    Returns:
        ``(n, H, W)`` bool.
    """
    _, height, width = masks.shape
    parts = masks.split(max(1, MOST_PIXELS // (height * width)))
    return torch.cat([~_outside(part) for part in parts]) if len(masks) else masks


def _outside(masks: Tensor) -> Tensor:
    """Pixels from which the border of the image is reached through background, in steps to the four neighbours."""
    along_rows, along_columns = _spreading(masks, 2), _spreading(masks, 1)
    border = torch.ones_like(masks)
    border[:, 1:-1, 1:-1] = False
    outside = ~masks & border
    while True:
        for _ in range(STEPS):
            before = outside
            outside = along_columns(along_rows(outside))
        if not bool((outside != before).any()):
            return outside


def _spreading(masks: Tensor, axis: int) -> Callable[[Tensor], Tensor]:
    """What spreads ``(n, H, W)`` bool to whole runs of background along an axis; pixels of masks stay False."""
    length = masks.shape[axis]
    place = torch.arange(length, device=masks.device).view(-1, *[1] * (2 - axis))
    # Of each pixel where its run begins, and where it has ended; pixels of a mask have an empty run.
    begin = torch.where(masks, place, -1).cummax(axis).values + 1
    end = torch.where(masks, place, length).flip(axis).cummin(axis).values.flip(axis)
    padding = (1, 0) if axis == 2 else (0, 0, 1, 0)

    def spread(outside: Tensor) -> Tensor:
        before = F.pad(outside.cumsum(axis, dtype=torch.int32), padding)  # how many lie before each place
        return before.gather(axis, end) > before.gather(axis, begin)

    return spread
