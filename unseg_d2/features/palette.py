"""Patch features that need no weights and are comparable between images: similarity to each of a fixed set of colours.

Semantic segmentation compares patches of different images. `descriptors` cannot serve for that, because it describes
each image relative to its own border. Like `descriptors`, this backend is for trying things out, not for results.

Shape legend
    H, W   height and width of the image in pixels
    h, w   rows and columns of the patch grid, ``H // patch_size`` and ``W // patch_size``
    C      colours of the palette
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.errors import Unusable
from unseg_d2.features.descriptors import FITS_UNIAP, DescriptorBackendSettings, pool
from unseg_d2.features.registry import FEATURE_BACKENDS, OF_NETWORKS
from unseg_d2.structures import PatchFeatures

VERSION = 1
"""Increased whenever the numbers change; enters the checksum of label sets."""

COLOURS = 64
BANDWIDTH = 0.12  # of a colour's neighbourhood, in Lab / 100
LENGTH = 1.0  # norm of a patch's features; longer ones sharpen the softmax over prototypes until nothing is learnt
LIGHTNESS = 0.5  # weight of L: shading changes it and says little about what a surface is


def palette_features(image: np.ndarray, patch_size: int) -> np.ndarray:
    """Return the Gaussian similarity of each patch's mean colour to :func:`palette`.

    Args:
        image: ``(H, W, 3)`` RGB, uint8 or float32 in [0, 255], at least one patch large.
        patch_size: side of a patch in pixels; a remainder at the right and bottom is left out.

    Returns:
        ``(C, h, w)`` float32, not negative; each patch's features have the length :data:`LENGTH`.

    Raises:
        ValueError: if the image has another shape or type, or is smaller than a patch.
    """
    if image.dtype not in (np.uint8, np.float32) or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a (H, W, 3) image in uint8 or float32, got {image.dtype} {image.shape}")
    if min(image.shape[:2]) < patch_size:
        raise Unusable(f"the image {image.shape[:2]} is smaller than a patch of {patch_size} px")
    lab = pool(to_lab(np.multiply(image, np.float32(1 / 255), dtype=np.float32)), patch_size)
    colours = palette()
    patches = lab.reshape(3, -1)
    squared = (colours**2).sum(1)[:, None] - 2 * colours @ patches + (patches**2).sum(0)
    near = np.exp(-0.5 / BANDWIDTH**2 * (squared - squared.min(0)))
    return (LENGTH / np.linalg.norm(near, axis=0) * near).reshape(COLOURS, *lab.shape[1:]).astype(np.float32)


@lru_cache(maxsize=1)
def palette() -> np.ndarray:
    """Colours that cover the RGB cube evenly to the eye, ``(C, 3)`` in scaled Lab, chosen farthest first."""
    levels = np.linspace(0, 1, 9, dtype=np.float32)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(1, -1, 3)
    candidates = to_lab(cube)[0].astype(np.float64)
    chosen = [int(((candidates - (LIGHTNESS / 2, 0, 0)) ** 2).sum(1).argmin())]  # middle grey first
    distance = np.full(len(candidates), np.inf)
    while len(chosen) < COLOURS:
        distance = np.minimum(distance, ((candidates - candidates[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(distance.argmax()))
    return candidates[chosen]


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """Convert ``(H, W, 3)`` float32 RGB in [0, 1] to Lab / 100, with L weighted by :data:`LIGHTNESS`."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB) * np.array((LIGHTNESS / 100, 0.01, 0.01), np.float32)


@FEATURE_BACKENDS.register(
    reads=("FEATURES.DESCRIPTORS",),
    fits={"MASKS.LOST.CENTER": True, **FITS_UNIAP},
    ignores=OF_NETWORKS,
)
class Palette:
    """Feature backend around :func:`palette_features`.

    Args:
        patch_size: side of a patch in pixels.
    """

    def __init__(self, patch_size: int) -> None:
        self.name = "palette"
        self.supervision = ("none",)
        self.patch_size = patch_size
        self.checksum = hashlib.sha256(
            f"palette {VERSION} {COLOURS} {BANDWIDTH} {LIGHTNESS} {LENGTH}".encode()
        ).hexdigest()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Palette:
        """Return the backend of ``cfg.FEATURES.DESCRIPTORS``, whose patch size it shares."""
        return cls(DescriptorBackendSettings.from_config(cfg).patch_size)

    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        """Describe each image; see :class:`unseg_d2.features.FeatureBackend`."""
        tokens = [torch.from_numpy(palette_features(image, self.patch_size)) for image in images]
        return [PatchFeatures(token, self.patch_size) for token in tokens]
