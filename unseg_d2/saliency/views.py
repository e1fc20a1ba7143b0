"""Training images as the saliency head sees them: scaled, cropped, flipped, their colours changed.

Shape legend
    H, W   height and width of the image in pixels
    S      side of the crop in pixels
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from unseg_d2.pixels import adjust_colours, centre_crop, denormalise, normalise, resize


@dataclass(frozen=True)
class ViewSettings:
    """How training images are varied.

    Attributes:
        size: S.
        shorter_side: what the image's shorter side is scaled to before it is cropped; at least S.
        flip: probability of a horizontal flip.
        jitter: greatest change of brightness, contrast, saturation (relative) and hue (turns), in this order.
        jitter_probability: of changing them.
        grayscale: probability of dropping the colours.
    """

    size: int = 320
    shorter_side: int = 335
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_probability: float = 0.8
    grayscale: float = 0.2


def training_view(
    image: np.ndarray, settings: ViewSettings, rng: np.random.Generator, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a random view of an image, and of its mask where there is one.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        settings: see :class:`ViewSettings`.
        rng: what is drawn comes from here.
        mask: ``(H, W)`` float32 in [0, 1].

    Returns:
        ``(S, S, 3)`` uint8, and ``(S, S)`` float32 or ``None``.
    """
    size = scaled_size(image.shape[:2], settings.shorter_side)
    top, left = (int(rng.integers(0, length - settings.size + 1)) for length in size)
    flipped = rng.random() < settings.flip
    window = np.s_[top : top + settings.size, left : left + settings.size]

    def moved(pixels: np.ndarray) -> np.ndarray:
        cut = pixels[window]
        return np.ascontiguousarray(cut[:, ::-1] if flipped else cut)

    view = _change_colours(moved(resize(image, size)), settings, rng)
    return view, None if mask is None else moved(resize(mask, size))


def center_view(image: np.ndarray, size: int, shorter_side: int) -> np.ndarray:
    """Scale the shorter side and cut out the middle: the protocol of the paper's evaluation.

    Args:
        image: ``(H, W, 3)`` uint8 or ``(H, W)`` float32.
        size: S.
        shorter_side: in pixels, at least S.

    Returns:
        ``(S, S, 3)`` or ``(S, S)`` of the same type.
    """
    return centre_crop(resize(image, scaled_size(image.shape[:2], shorter_side)), size)


def scaled_size(size: tuple[int, int], shorter_side: int) -> tuple[int, int]:
    """Return height and width after the shorter of the two has been scaled to a length."""
    # For one size in thousands a pixel off `semantic.geometry.resized`, which multiplies first, as torchvision does:
    # one formula for both would change crops, and with them figures.
    scale = shorter_side / min(size)
    return tuple(max(shorter_side, int(length * scale)) for length in size)


def predicted_size(size: tuple[int, int], patch: int, side: int = 0) -> tuple[int, int]:
    """Return the multiples of the patch at which an image is looked at: nearest to its size, two patches at least.

    Args:
        size: height and width of the image.
        patch: side of a patch in pixels.
        side: what the shorter side is scaled to before; 0 keeps the size.
    """
    scale = side / min(size) if side else 1.0
    return tuple(max(2, round(length * scale / patch)) * patch for length in size)


def normalised(views: np.ndarray | Tensor) -> Tensor:
    """Turn ``(B, S, S, 3)`` in [0, 255] into ``(B, 3, S, S)`` float32 without ImageNet's mean and deviation."""
    return normalise(torch.as_tensor(views).permute(0, 3, 1, 2).float() / 255)


def luminance(images: Tensor) -> Tensor:
    """Return the mean of RGB in [0, 1], ``(B, 1, H, W)``, of normalised images ``(B, 3, H, W)``: the guide."""
    return denormalise(images.float()).mean(1, keepdim=True)


def _change_colours(view: np.ndarray, settings: ViewSettings, rng: np.random.Generator) -> np.ndarray:
    pixels = torch.from_numpy(view).permute(2, 0, 1)
    if rng.random() < settings.jitter_probability:
        middles, amounts = (1.0, 1.0, 1.0, 0.0), [0.0] * 4
        order = rng.permutation(4)
        for k in order:
            amounts[k] = float(rng.uniform(middles[k] - settings.jitter[k], middles[k] + settings.jitter[k]))
        pixels = adjust_colours(pixels, amounts, order)
    if rng.random() < settings.grayscale:
        pixels = rgb_to_grayscale(pixels, num_output_channels=3)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
