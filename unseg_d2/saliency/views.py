"""Training images as the saliency head sees them: scaled, cropped, flipped, with changed colours.

Shape legend
    H, W   height and width of the image in pixels
    S      side of the crop in pixels
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from unseg_d2.pixels import adjust_colours, centre_crop, denormalise, normalise, resize
from unseg_d2.saliency.settings import SaliencySettings


def training_view(
    image: np.ndarray, settings: SaliencySettings, rng: np.random.Generator, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a random view of an image, and of its mask where there is one.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        settings: how training images are varied; S is ``image_size``.
        rng: what is drawn comes from here.
        mask: ``(H, W)`` float32 in [0, 1].

    Returns:
        ``(S, S, 3)`` uint8, and ``(S, S)`` float32 or ``None``.
    """
    side, size = settings.image_size, scaled_size(image.shape[:2], settings.shorter_side)
    top, left = (int(rng.integers(0, length - side + 1)) for length in size)
    flipped = rng.random() < settings.flip
    window = np.s_[top : top + side, left : left + side]

    def moved(pixels: np.ndarray) -> np.ndarray:
        cut = pixels[window]
        return np.ascontiguousarray(cut[:, ::-1] if flipped else cut)

    view = _change_colours(moved(resize(image, size)), settings, rng)
    return view, None if mask is None else moved(resize(mask, size))


def centre_view(image: np.ndarray, size: int, shorter_side: int) -> np.ndarray:
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
    # one formula for both would change crops, and with them results.
    scale = shorter_side / min(size)
    return max(shorter_side, int(size[0] * scale)), max(shorter_side, int(size[1] * scale))


def predicted_size(size: tuple[int, int], patch: int, side: int = 0) -> tuple[int, int]:
    """Return the multiples of the patch at which an image is looked at: nearest to its size, two patches at least.

    Args:
        size: height and width of the image.
        patch: side of a patch in pixels.
        side: what the shorter side is scaled to before; 0 keeps the size.
    """
    scale = side / min(size) if side else 1.0
    return max(2, round(size[0] * scale / patch)) * patch, max(2, round(size[1] * scale / patch)) * patch


def normalised(views: np.ndarray | Tensor) -> Tensor:
    """Turn ``(B, S, S, 3)`` in [0, 255] into ``(B, 3, S, S)`` float32 without ImageNet's mean and deviation."""
    return normalise(torch.as_tensor(views).permute(0, 3, 1, 2).float() / 255)


def luminance(images: Tensor) -> Tensor:
    """Return the mean of RGB in [0, 1], ``(B, 1, H, W)``, of normalised images ``(B, 3, H, W)``: the guide."""
    return denormalise(images.float()).mean(1, keepdim=True)


def _change_colours(view: np.ndarray, settings: SaliencySettings, rng: np.random.Generator) -> np.ndarray:
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
