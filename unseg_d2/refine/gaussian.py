"""Separable Gaussian filtering of the pixels of images, zero outside of them, symmetrically normalised.

Shape legend
    b      images
    H, W   height and width in pixels
    c      channels
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.refine.threads import in_threads

TRUNCATE = 4.0  # half width of the kernel in standard deviations
MAX_CHANNELS = 64  # OpenCV filters at most 128 channels at a time
LEAST_ROWS = 64  # fewer are not worth another thread


@dataclass(frozen=True)
class GaussianKernel:
    """The operator weight n * G(n * x), n = 1 / sqrt(G 1), for images of one size.

    G and hence n are separable, and n is constant away from the border. That constant is a part of the taps, so only
    the pixels near the border, the frame, are multiplied.
    """

    taps: Tensor  # (2 radius + 1,) float32
    rows: Tensor  # (H, 1, 1) float32, n along H over its value away from the border
    columns: Tensor  # (W, 1) float32

    @classmethod
    def build(cls, height: int, width: int, sigma: float, weight: float, device: torch.device) -> GaussianKernel:
        """Return the kernel of standard deviation ``sigma``, in pixels, on a device."""
        radius = max(1, math.ceil(TRUNCATE * sigma))
        taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=device) / sigma) ** 2)
        taps /= taps.sum()
        rows, columns = (_mass_inside(taps, length).rsqrt() for length in (height, width))
        return cls(taps * math.sqrt(weight), rows[:, None, None], columns[:, None])

    def filter_(self, values: Tensor) -> Tensor:
        """Filter values ``(b, H, W, c)`` float32; returns the same shape. The frame of ``values`` is overwritten."""
        return self._weigh_frame(filter_planes(self._weigh_frame(values), self.taps))

    def _weigh_frame(self, values: Tensor) -> Tensor:
        radius = len(self.taps) // 2
        for axis, factors in ((1, self.rows), (2, self.columns)):
            last = max(radius, len(factors) - radius)
            values.narrow(axis, 0, min(radius, len(factors))).mul_(factors[:radius])
            if last < len(factors):
                values.narrow(axis, last, len(factors) - last).mul_(factors[last:])
        return values


def _mass_inside(taps: Tensor, length: int) -> Tensor:
    """Return for each pixel of a line the share of its taps that lies on the line, ``(length,)``."""
    return F.conv1d(torch.ones((1, 1, length), device=taps.device), taps[None, None], padding=len(taps) // 2)[0, 0]


def filter_planes(values: Tensor, taps: Tensor) -> Tensor:
    """Correlate values ``(b, H, W, c)`` float32 with taps of odd number along H and along W, zero outside."""
    if values.device.type != "cpu":
        return convolve(values, taps)
    filtered = torch.empty(values.shape)
    for image, out in zip(values, filtered):
        for part, into in zip(image.split(MAX_CHANNELS, -1), out.split(MAX_CHANNELS, -1)):
            planes = part.contiguous().numpy()
            # As an array: threads do not share PyTorch's inference mode.
            in_threads(partial(_filter_rows, planes, into.numpy(), taps.numpy()), len(planes), least=LEAST_ROWS)
    return filtered


def _filter_rows(planes: np.ndarray, out: np.ndarray, taps: np.ndarray, start: int, stop: int) -> None:
    """Write rows ``start`` to ``stop`` of the filtered planes ``(H, W, c)``."""
    radius = len(taps) // 2
    low, high = max(0, start - radius), min(len(planes), stop + radius)
    # OpenCV writes into the given array, except for planes of one channel.
    whole = stop - start == len(planes) and out.flags.c_contiguous and out.shape[-1] > 1
    into = out if whole else None
    found = cv2.sepFilter2D(planes[low:high], -1, taps, taps, into, borderType=cv2.BORDER_CONSTANT)
    if not whole:
        out[start:stop] = found.reshape(high - low, *out.shape[1:])[start - low : stop - low]


def convolve(values: Tensor, taps: Tensor) -> Tensor:
    """The same by convolutions, which are fast on CUDA only."""
    b, height, width, c = values.shape
    planes = values.permute(0, 3, 1, 2).reshape(b * c, 1, height, width)
    radius = len(taps) // 2
    planes = F.conv2d(planes, taps.view(1, 1, 1, -1), padding=(0, radius))
    planes = F.conv2d(planes, taps.view(1, 1, -1, 1), padding=(radius, 0))
    return planes.view(b, c, height, width).permute(0, 2, 3, 1).contiguous()
