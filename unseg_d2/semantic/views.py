"""The student's view: the same picture, blurred and in other colours (PriMaPs-EM, photometric augmentation).

Shape legend
    H, W   height and width of the view in pixels
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from unseg_d2.pixels import adjust_colours, denormalise, normalise
from unseg_d2.semantic.settings import Order

KERNEL = 21  # px, of the blur
STRENGTH = 0.1  # of the jitter of brightness, contrast, saturation and hue
JITTER, GREY = 0.3, 0.1  # probabilities of the two branches


def student_view(image: np.ndarray, rng: np.random.Generator, order: Order) -> np.ndarray:
    """Blur an image and, now and then, shift its colours or take them away; nothing moves.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        rng: source of everything random.
        order: where the colours are changed. ``before`` normalisation, on values in [0, 1]. ``after`` does so on the
            normalised picture, as in the published code; where colours are shifted, what is darker than the mean is
            lost, because the jitter clips to [0, 1].

    Returns:
        ``(H, W, 3)`` float32 RGB in [0, 255], for a feature backend, which normalises it.
    """
    # Blurring and normalising commute; OpenCV filters rows and columns one after the other.
    blurred = cv2.GaussianBlur(image.astype(np.float32) / 255, (KERNEL, KERNEL), float(rng.uniform(0.1, 2.0)))
    picture = torch.from_numpy(blurred).permute(2, 0, 1)
    if order == "after":
        picture = normalise(picture)
    if rng.random() < 0.5:
        if rng.random() < JITTER:
            picture = colour_jitter(picture, rng)
    elif rng.random() < GREY:
        picture = rgb_to_grayscale(picture, num_output_channels=3)
    if order == "after":
        picture = denormalise(picture)
    return (picture.clamp(0, 1) * 255).permute(1, 2, 0).contiguous().numpy()


def colour_jitter(picture: Tensor, rng: np.random.Generator, strength: float = STRENGTH) -> Tensor:
    """Change brightness, contrast, saturation and hue of ``(3, H, W)`` in [0, 1] at random, in random order.

    Args:
        picture: values outside [0, 1] are clipped.
        rng: source of the four factors and of their order.
        strength: factors lie within this of 1, the shift of the hue within this of 0 (of a full turn).
    """
    factors = rng.uniform(1 - strength, 1 + strength, 3).tolist()
    shift = float(rng.uniform(-strength, strength))
    return adjust_colours(picture, [*factors, shift], rng.permutation(4))
