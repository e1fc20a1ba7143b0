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
from typing import TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor

from unseg_d2.devices import resolve_device
from unseg_d2.refine.guided_together import guided_filter_tensors, guided_together
from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.on_device import CardRefiner, DeviceSettings
from unseg_d2.refine.registry import REFINERS, Refiner, check_inputs, hard, soft
from unseg_d2.settings import setting

_Window: TypeAlias = tuple[slice, slice]


@dataclass(frozen=True)
class GuidedSettings(DeviceSettings):
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

    Raises:
        UnsegError: the device is not there.
    """
    settings = settings or GuidedSettings()
    device = resolve_device(settings.device)
    if device.type == "cpu":
        return partial(_refine, radius=settings.radius, eps=settings.eps)
    return CardRefiner(partial(guided_together, radius=settings.radius, eps=settings.eps), device)


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
    fit = _LocalFit(np.ascontiguousarray(guide), radius, eps)
    filtered = np.zeros(source.shape, source.dtype)
    for plane, out in zip(np.ascontiguousarray(source), filtered):  # OpenCV writes to rows only
        window = _reach(plane, 2 * radius)  # slopes are zero beyond one radius of what is not zero, means beyond two
        if window is not None:
            fit(plane[window], window, out[window])
    return filtered


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
    return guided_filter_tensors(guide, source[:, 0], radius=radius, eps=eps)[:, None]


class _LocalFit:
    """The part of the filter that depends on the guide alone: means and covariance of every window.

    The covariance of each pixel is kept as ``L D L^T``, with which a slope is found by substitution: the inverse itself
    would lose the digits that differ where the channels are nearly equal. Everything works on whole planes and in
    place, since fresh memory costs more than the arithmetic.
    """

    def __init__(self, guide: np.ndarray, radius: int, eps: float) -> None:
        self.guide, self.radius = guide, radius
        self.share = _window_share(*guide.shape[1:], radius, guide.dtype)
        self.mean, self.inverse = np.empty_like(guide), np.empty_like(guide)  # of the windows; of D
        self.lower = {(i, j): np.empty_like(guide[0]) for i in range(len(guide)) for j in range(i)}
        product, everything = np.empty_like(guide[0]), np.s_[:, :]
        for plane, out in zip(guide, self.mean):
            self._average(plane, everything, out)
        for i in range(len(guide)):
            row = [*(np.empty_like(product) for _ in range(i)), self.inverse[i]]
            for j, covariance in enumerate(row):
                self._average(np.multiply(guide[i], guide[j], out=product), everything, covariance)
                covariance -= np.multiply(self.mean[i], self.mean[j], out=product)
                for k in range(min(j, i)):  # what is left is L[i, j] D[j], on the diagonal D[i]
                    covariance -= np.multiply(row[k], self.lower[j, k], out=product)
                if j < i:
                    np.multiply(covariance, self.inverse[j], out=self.lower[i, j])
            row[i] += eps
            np.reciprocal(row[i], out=self.inverse[i])

    def __call__(self, plane: np.ndarray, window: _Window, out: np.ndarray) -> None:
        """Filter a map in a window outside of whose middle, two radii from its border, it is zero.

        Args:
            plane: the map in the window.
            window: rows and columns of the guide.
            out: receives the filtered map in the window.
        """
        guide, means = (planes[:, window[0], window[1]] for planes in (self.guide, self.mean))
        product, offset = np.empty(plane.shape, plane.dtype), np.empty(plane.shape, plane.dtype)
        self._average(plane, window, offset)
        slopes = [np.empty(plane.shape, plane.dtype) for _ in guide]
        for channel, mean, slope in zip(guide, means, slopes):
            self._average(np.multiply(channel, plane, out=product), window, slope)
            slope -= np.multiply(mean, offset, out=product)
        self._substitute(slopes, window, product)
        for mean, slope in zip(means, slopes):
            offset -= np.multiply(slope, mean, out=product)
        self._average(offset, window, out)
        for channel, slope in zip(guide, slopes):
            self._average(slope, window, product)
            out += np.multiply(product, channel, out=product)

    def _substitute(self, values: list[np.ndarray], window: _Window, product: np.ndarray) -> None:
        """Multiply the inverse of each pixel's covariance with ``values``, a plane per channel (equation 14)."""
        lower = {pair: plane[window] for pair, plane in self.lower.items()}
        for (i, j), factor in lower.items():  # in the order (1, 0), (2, 0), (2, 1)
            values[i] -= np.multiply(factor, values[j], out=product)
        for value, inverse in zip(values, self.inverse):
            value *= inverse[window]
        for (i, j), factor in reversed(lower.items()):
            values[j] -= np.multiply(factor, values[i], out=product)

    def _average(self, plane: np.ndarray, window: _Window, out: np.ndarray) -> np.ndarray:
        """Write the means over the windows of the pixels, truncated at the border of the guide, to ``out``."""
        return np.multiply(_box_sum(plane, self.radius, out), self.share[window], out=out)


def _reach(plane: np.ndarray, distance: int) -> _Window | None:
    """Return the rows and columns within a distance of the pixels that are not zero, ``None`` without any."""
    rows, columns = np.flatnonzero(plane.any(1)), np.flatnonzero(plane.any(0))
    if not len(rows):
        return None
    return (
        slice(max(0, rows[0] - distance), rows[-1] + distance + 1),
        slice(max(0, columns[0] - distance), columns[-1] + distance + 1),
    )


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
