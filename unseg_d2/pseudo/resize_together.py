"""Resizing masks on a card, to the bit as Pillow does it on the host.

Pillow weighs the pixels under a filter that is as wide as a pixel of the larger of the two images, with whole numbers
of 22 bits: along one axis, which it rounds to grey levels, then along the other. Which comes first depends on its
version, which is asked once.

Shape legend
    n      masks
    k, l   rows and columns before
    H, W   rows and columns after
    t      pixels under the filter
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unseg_d2.masks.registry import Mode
from unseg_d2.transfer import to_card

PRECISION_BITS = 22
WHITE, HALF = 255, 128


def resize_together(masks: Tensor, height: int, width: int, mode: Mode) -> Tensor:
    """Stretch masks as :func:`~unseg_d2.pseudo.post_process.resize_mask` does, without waiting for a card.

    Args:
        masks: ``(n, k, l)`` bool, on any device.
        height: H.
        width: W.
        mode: ``default`` or ``parity``, see there.

    Returns:
        ``(n, H, W)`` bool, some of them possibly empty.
    """
    levels, before = masks.to(torch.int32) * WHITE, masks.shape[1:]
    rows_shrink_more = before[0] - height > max(0, 2 * (before[1] - width))
    order = (1, 2) if rows_shrink_more and pillow_may_begin_with_columns() else (2, 1)
    levels = _resized(levels, (height, width), mode, order)
    return 2 * levels > levels.amax((1, 2), keepdim=True) if mode == "parity" else levels >= HALF


@cache
def pillow_may_begin_with_columns() -> bool:
    """Whether this version of Pillow resizes columns first where the height shrinks by more; older ones do not."""
    mask = np.random.default_rng(0).random((16, 16)) < 0.5
    image = Image.fromarray(mask.astype(np.uint8) * WHITE).resize((24, 7), Image.Resampling.BICUBIC)
    levels = torch.from_numpy(mask)[None].to(torch.int32) * WHITE
    return bool((_resized(levels, (7, 24), "parity", (1, 2))[0].numpy() == np.asarray(image)).all())


def _resized(levels: Tensor, size: tuple[int, int], mode: Mode, order: tuple[int, int]) -> Tensor:
    """Resize grey levels ``(n, k, l)`` int32 to a size ``(H, W)``, one axis after the other."""
    for axis in order:
        if levels.shape[axis] != size[axis - 1]:
            levels = _resampled(levels, axis, size[axis - 1], mode)
    return levels


def _resampled(levels: Tensor, axis: int, length: int, mode: Mode) -> Tensor:
    """Resize grey levels ``(n, k, l)`` int32 along an axis."""
    found = _taps(levels.shape[axis], length, mode)
    places, weights = (to_card(torch.from_numpy(part), levels.device) for part in found)
    seen = levels.index_select(axis, places.flatten()).unflatten(axis, places.shape)
    weighed = seen.mul_(weights if axis == 2 else weights[:, :, None]).sum(axis + 1, dtype=torch.int32)
    return weighed.add_(1 << (PRECISION_BITS - 1)).bitwise_right_shift_(PRECISION_BITS).clamp_(0, WHITE)


@lru_cache(maxsize=64)
def _taps(before: int, after: int, mode: Mode) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels each new one sees, ``(after, t)`` int64, and their weights in 2^-22, int32."""
    kernel, reach = (_cubic, 2.0) if mode == "parity" else (_triangle, 1.0)
    scale = before / after
    stretch = max(scale, 1.0)
    support = reach * stretch
    centres = (np.arange(after) + 0.5) * scale
    first = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + support + 0.5).astype(np.int64), before)
    places = first[:, None] + np.arange(math.ceil(support) * 2 + 1)
    values = np.where(places < last[:, None], kernel((places - centres[:, None] + 0.5) * (1 / stretch)), 0.0)
    values /= values.cumsum(1)[:, -1:]  # added up one after another
    weights = np.trunc(values * (1 << PRECISION_BITS) + np.where(values < 0, -0.5, 0.5)).astype(np.int32)
    return np.minimum(places, before - 1), weights


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Keys' kernel."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    return np.where(x < 1, near, np.where(x < 2, (((x - 5) * x + 8) * x - 4) * a, 0))
