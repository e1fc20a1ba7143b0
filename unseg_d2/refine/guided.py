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
from unseg_d2.refine.registry import REFINERS, Refiner, check_inputs, hard, soft


@REFINERS.register()
def guided(*, radius: int = 6, eps: float = 1e-3) -> Refiner:
    """Return a refiner that snaps masks to the colour edges of the image and fills their holes.

    Args:
        radius: half width of the window in pixels; a little less than the side of a patch works best.
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
    guide = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 255
    filtered = guided_filter(guide, soft(masks), radius=radius, eps=eps)
    return fill_holes(hard(filtered) & masks.any((1, 2), keepdims=True))


def guided_filter(guide: np.ndarray, source: np.ndarray, *, radius: int, eps: float) -> np.ndarray:
    """Filter maps so that they are locally linear in a guide: edges are kept where the guide has them.

    Args:
        guide: ``(c, H, W)`` float32 or float64 in [0, 1]; with three channels the filter sees colour (section 3.5).
        source: ``(n, H, W)`` in the precision of the guide, filtered independently of each other.
        radius: half width r of the square window in pixels; windows are truncated at the border.
        eps: regularisation, in squared units of the guide.

    Returns:
        ``(n, H, W)`` in the precision of the guide; not clipped to the range of the source.
    """
    area = _box_sum(np.ones_like(guide[:1]), radius)

    def mean(planes: np.ndarray) -> np.ndarray:
        return _box_sum(planes, radius) / area

    mean_guide = mean(guide)
    covariance = np.stack([mean(guide * c) - mean_guide * mean_c for c, mean_c in zip(guide, mean_guide)])
    for c in range(len(guide)):
        covariance[c, c] += eps
    inverse = _invert(covariance)
    filtered = np.empty_like(source)
    for out, plane in zip(filtered, source):
        mean_plane = mean(plane[None])
        slope = (inverse * (mean(guide * plane) - mean_guide * mean_plane)).sum(1)  # equation 19
        offset = mean_plane[0] - (slope * mean_guide).sum(0)
        out[:] = (mean(slope) * guide).sum(0) + mean(offset[None])[0]
    return filtered


def _box_sum(planes: np.ndarray, radius: int) -> np.ndarray:
    """Sums of ``(k, H, W)`` planes over windows of ``2 radius + 1`` pixels, truncated at the border."""
    size = (2 * radius + 1, 2 * radius + 1)
    sums = [cv2.boxFilter(plane, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT) for plane in planes]
    return np.stack(sums)


def _invert(matrices: np.ndarray) -> np.ndarray:
    """Invert the symmetric positive definite ``(c, c)`` matrix of each pixel, ``(c, c, H, W)``, by Gauss-Jordan steps.

    Whole planes at a time: ``np.linalg.inv`` takes ten times longer on so many small matrices.
    """
    inverse = matrices.copy()
    for k in range(len(inverse)):
        pivot = 1 / inverse[k, k]
        row, column = inverse[k] * pivot, inverse[:, k].copy()
        inverse -= column[:, None] * row
        inverse[:, k] = -column * pivot
        inverse[k] = row
        inverse[k, k] = pivot
    return inverse
