"""Guided filter: masks take on the edges of the image (He, Sun and Tang, PAMI 2013).

Shape legend
    H, W   height and width in pixels
    c      guide channels, 1 or 3
    n      masks
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np

from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.registry import REFINERS, Refiner, check_inputs

FOREGROUND = 0.5  # filtered masks are foreground above this


@REFINERS.register()
def guided(*, radius: int = 8, eps: float = 1e-3) -> Refiner:
    """Return a refiner that snaps masks to the colour edges of the image and fills their holes.

    Args:
        radius: half width of the window in pixels; about the side of the blocks that the masks are made of.
        eps: variance of the image, of values in [0, 1], below which it counts as flat.

    Raises:
        ValueError: if a setting is out of range.
    """
    if radius < 1:
        raise ValueError(f"radius must be at least 1 px, got {radius}")
    if not eps > 0:
        raise ValueError(f"eps must be positive, got {eps}")
    return partial(_refine, radius=radius, eps=eps)


def _refine(image: np.ndarray, masks: np.ndarray, *, radius: int, eps: float) -> np.ndarray:
    check_inputs(image, masks)
    guide = image.astype(np.float32) / 255
    soft = guided_filter(guide, masks.astype(np.float32), radius=radius, eps=eps)
    return fill_holes((soft > FOREGROUND) & masks.any((1, 2), keepdims=True))


def guided_filter(guide: np.ndarray, source: np.ndarray, *, radius: int, eps: float) -> np.ndarray:
    """Filter maps so that they are locally linear in a guide: edges are kept where the guide has them.

    Args:
        guide: ``(H, W, c)`` float32 or float64 in [0, 1]; with three channels the filter sees colour (section 3.5).
        source: ``(n, H, W)`` float, filtered independently in the precision of the guide.
        radius: half width r of the square window in pixels; windows are truncated at the border.
        eps: regularisation, in squared units of the guide.

    Returns:
        ``(n, H, W)`` in the precision of the guide; not clipped to the range of the source.
    """
    height, width, channels = guide.shape
    area = _box_sum(np.ones_like(guide[:, :, :1]), radius)
    mean_guide = _box_sum(guide, radius) / area
    covariance = np.empty((height, width, channels, channels), guide.dtype)
    for c in range(channels):
        products = _box_sum(guide * guide[:, :, c : c + 1], radius) / area
        covariance[:, :, c] = products - mean_guide * mean_guide[:, :, c : c + 1]
    inverse = np.linalg.inv(covariance + eps * np.eye(channels, dtype=guide.dtype))
    filtered = np.empty((len(source), height, width), guide.dtype)
    for out, plane in zip(filtered, source):
        plane = plane.astype(guide.dtype)[:, :, None]
        mean = _box_sum(plane, radius) / area
        cross = _box_sum(guide * plane, radius) / area - mean_guide * mean  # covariance of guide and source
        slope = np.einsum("hwcd,hwd->hwc", inverse, cross)
        offset = mean - (slope * mean_guide).sum(2, keepdims=True)
        coefficients = _box_sum(np.concatenate([slope, offset], 2), radius) / area
        out[:] = (coefficients[:, :, :-1] * guide).sum(2) + coefficients[:, :, -1]
    return filtered


def _box_sum(channels: np.ndarray, radius: int) -> np.ndarray:
    """Sums of ``(H, W, k)`` channels over windows of ``2 radius + 1`` pixels, truncated at the border."""
    size = (2 * radius + 1, 2 * radius + 1)
    summed = cv2.boxFilter(channels, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return summed.reshape(channels.shape)
