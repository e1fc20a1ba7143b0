"""Guided filter: masks take on the edges of the image (He, Sun and Tang, PAMI 2013).

Shape legend
    H, W   height and width in pixels
    B      images
    c      guide channels, 1 or 3
    n      masks
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.registry import REFINERS, Refiner, check_inputs, hard, soft
from unseg_d2.settings import Settings, setting


@dataclass(frozen=True)
class GuidedSettings(Settings):
    """Settings of :func:`guided`; a radius a little less than the side of a patch works best."""

    radius: int = setting(6, "radius of the window in the resized image", symbol="r", unit="px", low=1)
    eps: float = setting(
        1e-3, "variance of the image, in [0, 1], below which the filter averages", symbol="epsilon", above=0
    )


@REFINERS.register(settings=GuidedSettings)
def guided(settings: GuidedSettings | None = None) -> Refiner:
    """Return a refiner that snaps masks to the colour edges of the image and fills their holes.

    Args:
        settings: see :class:`GuidedSettings`; ``None`` takes the defaults.
    """
    settings = settings or GuidedSettings()
    return partial(_refine, radius=settings.radius, eps=settings.eps)


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
    share = _window_share(*guide.shape[1:], radius, guide.dtype)
    return (_filter_gray if len(guide) == 1 else _filter_colour)(guide, source, share, radius, eps)


def guided_filter_batch(guide: Tensor, source: Tensor, *, radius: int, eps: float) -> Tensor:
    """Filter each map of a batch by its own guide; for targets, without gradient.

    Args:
        guide: ``(B, 1, H, W)`` float32 in [0, 1], on any device.
        source: ``(B, 1, H, W)`` float32.
        radius: half width r of the square window in pixels.
        eps: regularisation, in squared units of the guide.

    Returns:
        ``(B, 1, H, W)`` float32; not clipped to the range of the source.
    """
    guide, source = guide.detach().float(), source.detach().float()
    if guide.device.type == "cpu":
        pairs = zip(guide.numpy(), source.numpy())
        filtered = [guided_filter(image, maps, radius=radius, eps=eps) for image, maps in pairs]
        return torch.from_numpy(np.stack(filtered))
    return _filter_tensors(guide, source, radius, eps)


def _filter_tensors(guide: Tensor, source: Tensor, radius: int, eps: float) -> Tensor:
    def mean(maps: Tensor) -> Tensor:
        for size, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
            maps = F.avg_pool2d(maps, size, stride=1, padding=padding, count_include_pad=False)
        return maps

    mean_guide, mean_source = mean(guide), mean(source)
    slope = (mean(guide * source) - mean_guide * mean_source) / (mean(guide * guide) - mean_guide.square() + eps)
    return mean(slope) * guide + mean(mean_source - slope * mean_guide)


def _filter_gray(guide: np.ndarray, source: np.ndarray, share: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Equations 5, 6 and 8, in place: fresh memory costs more than the arithmetic."""
    guide = np.ascontiguousarray(guide[0])

    def mean(plane: np.ndarray, out: np.ndarray) -> np.ndarray:
        return np.multiply(_box_sum(plane, radius, out), share, out=out)

    product, inverse, slope, offset = (np.empty_like(guide) for _ in range(4))
    mean_guide = mean(guide, np.empty_like(guide))
    mean(np.multiply(guide, guide, out=product), inverse)
    inverse -= np.multiply(mean_guide, mean_guide, out=product)
    inverse += eps
    np.reciprocal(inverse, out=inverse)
    filtered = np.empty_like(source)
    for out, plane in zip(filtered, source):
        mean(plane, offset)
        mean(np.multiply(guide, plane, out=product), slope)
        slope -= np.multiply(mean_guide, offset, out=product)
        slope *= inverse
        offset -= np.multiply(slope, mean_guide, out=product)
        mean(slope, out)
        out *= guide
        out += mean(offset, product)
    return filtered


def _filter_colour(guide: np.ndarray, source: np.ndarray, share: np.ndarray, radius: int, eps: float) -> np.ndarray:
    def mean(planes: np.ndarray) -> np.ndarray:
        sums = np.empty_like(planes)
        for plane, total in zip(planes, sums):
            _box_sum(plane, radius, total)
        return np.multiply(sums, share, out=sums)

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


def _box_sum(plane: np.ndarray, radius: int, out: np.ndarray) -> np.ndarray:
    """Write the sums of ``(H, W)`` over windows of ``2 radius + 1`` pixels, truncated at the border, to ``out``."""
    size = (2 * radius + 1, 2 * radius + 1)
    return cv2.boxFilter(plane, -1, size, dst=out, normalize=False, borderType=cv2.BORDER_CONSTANT)


@lru_cache(maxsize=4)
def _window_share(height: int, width: int, radius: int, dtype: np.dtype) -> np.ndarray:
    """Return the weight of one pixel in the mean over the truncated window around each pixel, ``(H, W)``."""
    sides = []
    for length in (height, width):
        position = np.arange(length)
        sides.append(np.minimum(position + radius, length - 1) - np.maximum(position - radius, 0) + 1)
    return (1 / np.outer(*sides)).astype(dtype)


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
