"""Arithmetic on pixels that several rooms need: ImageNet's normalisation, scaling, cropping, colours, cells of a grid.

Shape legend
    H, W   height and width of an image in pixels
    S      side of a square in pixels
    h, w   rows and columns of a grid of cells over the image, such as patches
    n      masks
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's training images, RGB in [0, 1]."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's training images, RGB in [0, 1]."""


def normalise(pixels: Tensor) -> Tensor:
    """Bring RGB in [0, 1], ``(..., 3, H, W)`` float, to ImageNet's mean 0 and standard deviation 1."""
    mean, deviation = _statistics(pixels)
    return (pixels - mean) / deviation


def denormalise(pixels: Tensor) -> Tensor:
    """Undo :func:`normalise`."""
    mean, deviation = _statistics(pixels)
    return pixels * deviation + mean


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale bilinearly, with antialiasing.

    Args:
        pixels: ``(H, W, 3)`` uint8, or ``(H, W)`` uint8 or float32.
        size: height and width.

    Returns:
        Pixels of this size and the same type; the argument itself where it has the size.
    """
    if pixels.shape[:2] == tuple(size):
        return pixels
    return np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def centre_crop(pixels: np.ndarray, side: int) -> np.ndarray:
    """Cut the middle ``(S, S, ...)`` out of ``(H, W, ...)``; both sides have at least S pixels."""
    top, left = (round((length - side) / 2) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def adjust_colours(pixels: Tensor, amounts: Sequence[float], order: Iterable[int]) -> Tensor:
    """Change brightness, contrast, saturation and hue, one after the other.

    Args:
        pixels: ``(3, H, W)``, uint8 or float in [0, 1]; values outside are clipped.
        amounts: factors of brightness, contrast and saturation, 1 changing nothing, and the shift of the hue in turns,
            from -0.5 to 0.5.
        order: indices into ``amounts``; what is left out is not changed.
    """
    # loaded on use: it takes as long to load as torch, and processes that read images do not need it
    from torchvision.transforms.v2 import functional as transforms

    adjust = (
        transforms.adjust_brightness,
        transforms.adjust_contrast,
        transforms.adjust_saturation,
        transforms.adjust_hue,
    )
    for index in order:
        pixels = adjust[index](pixels, amounts[index])
    return pixels


def _statistics(like: Tensor) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and standard deviation, ``(3, 1, 1)`` of the type and on the device of a tensor."""
    return like.new_tensor(IMAGENET_MEAN).view(3, 1, 1), like.new_tensor(IMAGENET_STD).view(3, 1, 1)


def cell_coverage(masks: np.ndarray, grid: tuple[int, int], shown: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Return which share of each cell of a grid masks cover, exactly, whatever the sizes.

    Args:
        masks: ``(n, H, W)`` bool.
        grid: h and w.
        shown: share of the grid's rows and columns, from the top left, that shows the image, in (0, 1].

    Returns:
        ``(n, h, w)`` float64 in [0, 1].

    >>> cell_coverage(np.array([[[True, False, False]]]), (1, 2)).round(3).tolist()
    [[[0.667, 0.0]]]
    """
    rows, columns = (
        _overlaps(pixels, cells, share) for pixels, cells, share in zip(masks.shape[1:], grid, shown, strict=True)
    )
    covered = np.zeros((len(masks), *grid))
    for place, mask in zip(covered, masks):
        there = mask.any(1)  # most masks are far smaller than the image
        place[:] = rows[:, there] @ mask[there].astype(np.float64) @ columns.T
    return covered


def _overlaps(pixels: int, cells: int, share: float) -> np.ndarray:
    """Return the share of each cell that each pixel covers along an axis, ``(cells, pixels)``."""
    edges = np.arange(pixels + 1) * (share * cells / pixels)
    cell = np.arange(cells)[:, None]
    return np.clip(np.minimum(edges[1:], cell + 1) - np.maximum(edges[:-1], cell), 0, None)
