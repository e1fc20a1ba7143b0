"""Separable Gaussian filtering of the pixels of images, zero outside of them, symmetrically normalised.

Shape legend
    b      images
    H, W   height and width in pixels
    c      channels
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

TRUNCATE = 4.0  # half width of the kernel in standard deviations
MAX_CHANNELS = 64  # OpenCV filters at most 128 channels at a time


@dataclass(frozen=True)
class GaussianKernel:
    """The operator weight n * G(n * x), n = 1 / sqrt(G 1), for images of one size."""

    taps: Tensor  # (2 radius + 1,) float32
    norm: Tensor  # (H, W, 1) float32, sqrt(weight) n

    @classmethod
    def build(cls, height: int, width: int, sigma: float, weight: float, device: torch.device) -> GaussianKernel:
        """Return the kernel of standard deviation ``sigma``, in pixels, on a device."""
        radius = max(1, math.ceil(TRUNCATE * sigma))
        taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=device) / sigma) ** 2)
        ones = torch.ones((1, height, width, 1), device=device)
        return cls(taps, filter_planes(ones, taps)[0].rsqrt() * math.sqrt(weight))

    def filter(self, values: Tensor) -> Tensor:
        """Filter values ``(b, H, W, c)`` float32; returns the same shape."""
        return filter_planes(values * self.norm, self.taps).mul_(self.norm)


def filter_planes(values: Tensor, taps: Tensor) -> Tensor:
    """Correlate values ``(b, H, W, c)`` float32 with taps of odd number along H and along W, zero outside."""
    if values.device.type != "cpu":
        return convolve(values, taps)
    filtered = torch.empty_like(values)
    kernel = taps.numpy()
    for image, out in zip(values, filtered):
        for part, into in zip(image.split(MAX_CHANNELS, -1), out.split(MAX_CHANNELS, -1)):
            plane = cv2.sepFilter2D(part.contiguous().numpy(), -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
            into.copy_(torch.from_numpy(plane).view(into.shape))
    return filtered


def convolve(values: Tensor, taps: Tensor) -> Tensor:
    """The same by convolutions, which are fast on CUDA only."""
    b, height, width, c = values.shape
    planes = values.permute(0, 3, 1, 2).reshape(b * c, 1, height, width)
    radius = len(taps) // 2
    planes = F.conv2d(planes, taps.view(1, 1, 1, -1), padding=(0, radius))
    planes = F.conv2d(planes, taps.view(1, 1, -1, 1), padding=(radius, 0))
    return planes.view(b, c, height, width).permute(0, 2, 3, 1).contiguous()
