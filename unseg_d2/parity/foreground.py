"""Foregrounds on the patch grid of a published one: one mask for all objects of an image.

Shape legend
    H, W   height and width of an image in pixels
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from unseg_d2.parity.match import ImageMatch

SIDES = (8, 16)
"""Sides of the patches of DINO's transformers, in px."""


def on_grid(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return which patches are mostly foreground.

    A grid that covers the image with patches of one of `SIDES`, the last ones perhaps beyond its edge, belongs to a
    padded image; any other to an image that was scaled to it.

    Args:
        mask: ``(H, W)`` bool or share of foreground.
        grid: ``(h, w)``.

    Returns:
        ``(h, w)`` bool.

    >>> on_grid(np.eye(4), (2, 2))  # half of a patch is not most of it
    array([[False, False],
           [False, False]])
    """
    share = mask.astype(np.float32)
    side = next((side for side in SIDES if tuple(-(-pixels // side) for pixels in mask.shape) == grid), 0)
    if side:
        padding = [(0, count * side - pixels) for pixels, count in zip(mask.shape, grid)]
        share = np.pad(share, padding)
    scaled = cv2.resize(share, grid[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(scaled > 0.5)


def match_foregrounds(published: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]) -> list[ImageMatch]:
    """Return the IoU of each published foreground ``(h, w)`` with ours ``(H, W)``, for the images that have both."""
    matches = []
    for name, wanted in published.items():
        if name in ours:
            found = on_grid(ours[name], (wanted.shape[0], wanted.shape[1]))
            union = (wanted | found).sum()
            iou = float((wanted & found).sum() / union) if union else 1.0
            matches.append(ImageMatch(name, np.array([iou]), np.array([iou])))
    return matches
