"""What a step looks at: whole images with their descriptors for the teacher, crops for the student.

Shape legend
    B      images
    k      crops
    H, W   height and width of an image or of a map
    h, w   rows and columns of the patch grid
    S      side of a crop
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import roi_align

from one_stage.settings import OneStageSettings
from unseg_d2.data.images import read_image
from unseg_d2.features.descriptors import patch_descriptors
from unseg_d2.loop.batches import batch_rng, step_indices
from unseg_d2.pixels import normalise, resize

ASPECT = 4 / 3
"""Crops are at most this much wider than high, or higher than wide (as torchvision's RandomResizedCrop)."""


@dataclass(frozen=True)
class Batch:
    """What one step looks at.

    Attributes:
        images: ``(B, 3, H, W)`` float32, normalised.
        descriptors: ``(B, C, h, w)`` float32.
        crops: ``(k, 3, S, S)`` float32, normalised; those of the first image come first.
        windows: ``(k, 4)`` left, top, right and bottom of each crop in its image, in [0, 1].
        flipped: ``(k,)`` bool, whether a crop is mirrored.
    """

    images: Tensor
    descriptors: Tensor
    crops: Tensor
    windows: Tensor
    flipped: Tensor

    def of_image(self, index: int) -> tuple[Tensor, Tensor]:
        """Return windows and mirroring of the crops of one image."""
        count = len(self.windows) // len(self.images)
        crops = slice(index * count, (index + 1) * count)
        return self.windows[crops], self.flipped[crops]


class Batches:
    """Batch ``t``, a function of (seed, ``t``) alone.

    Args:
        paths: of the images.
        settings: of the experiment.
        seed: of order, windows and mirroring.
    """

    def __init__(self, paths: Sequence[Path], settings: OneStageSettings, seed: int) -> None:
        self.paths, self.settings, self.seed = list(paths), settings, seed

    def __call__(self, t: int) -> Batch:
        """Read and crop the images of a step."""
        settings, rng = self.settings, batch_rng(self.seed, t)
        parts = []
        for index in step_indices(len(self.paths), settings.batch_size, self.seed, t):
            pixels = read_image(self.paths[index])
            windows = draw_windows(settings.crops, pixels.shape[:2], settings.scale, rng)
            flipped = torch.from_numpy(rng.random(settings.crops) < 0.5)
            whole, descriptors = whole_view(pixels, settings)
            crops = cut(as_input(pixels), windows, settings.crop_size, flipped)
            parts.append((whole[None], descriptors[None], crops, windows, flipped))
        return Batch(*map(torch.cat, zip(*parts)))


def whole_view(pixels: np.ndarray, settings: OneStageSettings) -> tuple[Tensor, Tensor]:
    """Return a whole image as the teacher sees it, ``(3, H, W)`` normalised, and its descriptors ``(C, h, w)``."""
    scaled = resize(pixels, (settings.size[0], settings.size[1]))
    return as_input(scaled), torch.from_numpy(patch_descriptors(scaled, settings.patch_size))


def as_input(pixels: np.ndarray) -> Tensor:
    """Turn ``(H, W, 3)`` uint8 into ``(3, H, W)`` float32 with ImageNet's mean 0 and deviation 1."""
    return normalise(torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)


def draw_windows(count: int, size: Sequence[int], scale: Sequence[float], rng: np.random.Generator) -> Tensor:
    """Draw where crops lie.

    Args:
        count: k.
        size: H and W.
        scale: least and largest share of the image's area.
        rng: what they are drawn from.

    Returns:
        ``(k, 4)`` float32 left, top, right, bottom in [0, 1].
    """
    height, width = size
    area = rng.uniform(*scale, count) * height * width
    aspect = np.exp(rng.uniform(-math.log(ASPECT), math.log(ASPECT), count))
    across = np.minimum(np.sqrt(area * aspect) / width, 1)
    down = np.minimum(np.sqrt(area / aspect) / height, 1)
    left, top = rng.random(count) * (1 - across), rng.random(count) * (1 - down)
    return torch.from_numpy(np.stack([left, top, left + across, top + down], axis=1)).float()


def cut(maps: Tensor, windows: Tensor, side: int, flipped: Tensor) -> Tensor:
    """Cut windows out of maps of one image and scale them; pixels and masks go through the same geometry.

    Args:
        maps: ``(C, H, W)`` float32.
        windows: ``(k, 4)`` left, top, right, bottom in [0, 1].
        side: S.
        flipped: ``(k,)`` bool, which are mirrored.

    Returns:
        ``(k, C, S, S)``: means of the area under a pixel where it is reduced, bilinear where it is enlarged.
    """
    height, width = maps.shape[1:]
    boxes = windows * windows.new_tensor([width, height, width, height])
    found = roi_align(maps[None], [boxes], side, aligned=True)
    return torch.where(flipped[:, None, None, None], found.flip(3), found)
