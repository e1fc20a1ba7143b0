"""The size at which a network sees an image, and bringing the image there; needs no torch."""

from __future__ import annotations

import numpy as np
from PIL import Image


def resized_shape(height: int, width: int, short: int, longest: int) -> tuple[int, int]:
    """Height and width with the shortest edge scaled to ``short``, or the longest to ``longest`` if that is smaller.

    >>> resized_shape(480, 640, 800, 1333)
    (800, 1067)
    >>> resized_shape(200, 1000, 800, 1333)
    (267, 1333)
    >>> resized_shape(20, 20_000, 800, 1333)
    (1, 1333)
    """
    if short == 0:
        return height, width
    scale = short * 1.0 / min(height, width)
    new_height, new_width = (short, scale * width) if height < width else (scale * height, short)
    if max(new_height, new_width) > longest:
        scale = longest * 1.0 / max(new_height, new_width)
        new_height, new_width = new_height * scale, new_width * scale
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize ``(H, W, 3)`` uint8 by Pillow's bilinear filter, which averages where it reduces."""
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
