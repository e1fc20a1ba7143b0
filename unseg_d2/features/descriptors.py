"""Patch descriptors that need no weights: colour, gradient orientation and texture statistics.

They let every command, test and demo run without a download. They are for trying things out, not for results.

Shape legend
    S      side of the square image in pixels
    h, w   rows and columns of the patch grid, ``S // patch_size`` each
    C      descriptor channels
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.features.registry import FEATURE_BACKENDS
from unseg_d2.structures import PatchFeatures

VERSION = 1
"""Raised whenever the numbers change; enters the checksum of label sets."""

ORIENTATION_BINS = 6


def patch_descriptors(image: np.ndarray, patch_size: int = 8) -> np.ndarray:
    """Describe each patch of an image by colour, gradient orientation and texture, without weights.

    Args:
        image: ``(S, S, 3)`` uint8 RGB; S at least ``patch_size``.
        patch_size: side of a patch in pixels; a remainder at the right and bottom is left out.

    Returns:
        ``(C, h, w)`` float32, finite, mean 0 over the patches of the image; the cosine of two patches is large where
        they look alike.

    Raises:
        ValueError: if the image is not uint8 RGB or smaller than a patch.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a (S, S, 3) uint8 image, got {image.dtype} {image.shape}")
    if min(image.shape[:2]) < patch_size:
        raise ValueError(f"the image {image.shape[:2]} is smaller than a patch of {patch_size} px")
    lab = cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB) / 100.0
    groups = [
        (1.0, _colour(lab, patch_size)),
        (0.5, _orientation(lab[..., 0], patch_size)),
        (0.5, _texture(lab, patch_size)),
    ]
    return np.concatenate([weight * _whiten(group) for weight, group in groups]).astype(np.float32)


def _pool(channels: np.ndarray, patch_size: int) -> np.ndarray:
    """Mean of ``(H, W, C)`` channels over each patch, ``(C, h, w)``."""
    h, w = channels.shape[0] // patch_size, channels.shape[1] // patch_size
    cropped = channels[: h * patch_size, : w * patch_size].reshape(h, patch_size, w, patch_size, -1)
    return cropped.mean(axis=(1, 3)).transpose(2, 0, 1)


def _smooth(grid: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing of ``(C, h, w)`` over the grid."""
    return np.stack([cv2.GaussianBlur(channel, (0, 0), sigma) for channel in grid])


def _colour(lab: np.ndarray, patch_size: int) -> np.ndarray:
    """Mean Lab colour of each patch at two scales, ``(6, h, w)``."""
    mean = _pool(lab, patch_size)
    return np.concatenate([mean, _smooth(mean, 1.5)])


def _orientation(lightness: np.ndarray, patch_size: int) -> np.ndarray:
    """Square root of the gradient energy per orientation, pooled over three patches, ``(ORIENTATION_BINS, h, w)``."""
    dx = cv2.Sobel(lightness, cv2.CV_32F, 1, 0, ksize=3)
    dy = cv2.Sobel(lightness, cv2.CV_32F, 0, 1, ksize=3)
    magnitude, angle = cv2.cartToPolar(dx, dy)
    position = np.mod(angle, np.pi) * (ORIENTATION_BINS / np.pi)
    bins = []
    for index in range(ORIENTATION_BINS):
        distance = np.abs(position - index)
        bins.append(magnitude * np.clip(1 - np.minimum(distance, ORIENTATION_BINS - distance), 0, None))
    return np.sqrt(_smooth(_pool(np.stack(bins, -1), patch_size), 1.0))


def _texture(lab: np.ndarray, patch_size: int) -> np.ndarray:
    """Standard deviation of Lab within a patch, around it, and on a coarser scale, ``(6, h, w)``."""
    fine = lab - cv2.GaussianBlur(lab, (0, 0), patch_size / 4)
    coarse = lab - cv2.GaussianBlur(lab, (0, 0), patch_size)
    energy = np.concatenate([_pool(fine**2, patch_size), _pool(coarse**2, patch_size)])
    return np.sqrt(_smooth(energy, 1.5))


def _whiten(group: np.ndarray) -> np.ndarray:
    """Subtract the mean over patches and divide by the root of the total variance; zero where nothing varies."""
    centred = group - group.mean(axis=(1, 2), keepdims=True)
    return centred / max(float(np.sqrt((centred**2).sum(axis=0).mean())), 1e-6)


class Descriptors:
    """Feature backend around :func:`patch_descriptors`.

    Args:
        patch_size: side of a patch in pixels.
    """

    def __init__(self, patch_size: int = 8) -> None:
        self.name = "descriptors"
        self.patch_size = patch_size
        self.checksum = hashlib.sha256(f"descriptors {VERSION}".encode()).hexdigest()

    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        """Describe each image; see :class:`unseg_d2.features.FeatureBackend`."""
        tokens = [torch.from_numpy(patch_descriptors(image, self.patch_size)) for image in images]
        return [PatchFeatures(token, self.patch_size) for token in tokens]


@FEATURE_BACKENDS.register()
def descriptors(cfg: CfgNode) -> Descriptors:
    """Make :class:`Descriptors` from ``cfg.FEATURES.DESCRIPTORS``."""
    return Descriptors(cfg.FEATURES.DESCRIPTORS.PATCH_SIZE)
