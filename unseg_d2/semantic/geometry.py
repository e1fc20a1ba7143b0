"""The part of an image that is trained and scored on: its shorter side resized, the middle square cut out.

Shape legend
    H, W   height and width of an image in pixels
    S      side of the square
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from unseg_d2.pixels import centre_crop, resize


def centre_square(
    image: np.ndarray, labels: np.ndarray | None, side: int, *, antialias: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Resize the shorter side of an image and its labels and cut out the middle.

    Args:
        image: ``(H, W, 3)`` uint8.
        labels: ``(H, W)`` uint8, or ``None``.
        side: S.
        antialias: smooth the image where it shrinks; published results were made without (torchvision below 0.17).

    Returns:
        ``(S, S, 3)`` uint8 and ``(S, S)`` uint8 or ``None``.
    """
    size = resized(image.shape[:2], side)
    square = centre_crop(resize_image(image, size, antialias=antialias), side)
    return square, None if labels is None else centre_crop(resize_labels(labels, size), side)


def resized(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the height and width of an image whose shorter side becomes ``side``."""
    shorter = min(size)
    height, width = (side if length == shorter else int(side * length / shorter) for length in size)
    return height, width


def resize_image(image: np.ndarray, size: tuple[int, int], *, antialias: bool) -> np.ndarray:
    """Resize ``(H, W, 3)`` uint8 to a height and width, bilinearly."""
    if antialias or image.shape[:2] == tuple(size):
        return resize(image, size)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    planes = F.interpolate(planes, size=tuple(size), mode="bilinear", align_corners=False)
    return planes[0].round().byte().permute(1, 2, 0).numpy()


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize ``(H, W)`` to a height and width by the nearest pixel."""
    return np.array(Image.fromarray(labels).resize((size[1], size[0]), Image.Resampling.NEAREST))
