"""Filling the holes of masks."""

from __future__ import annotations

import cv2
import numpy as np

_OUTSIDE = 2


def fill_holes(masks: np.ndarray) -> np.ndarray:
    """Set the background pixels that the mask encloses: those without a 4-connected path to the image border.

    Args:
        masks: ``(n, H, W)`` bool.

    Returns:
        ``(n, H, W)`` bool.
    """
    filled = masks.copy()
    for mask in filled:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):  # a hole cannot lie outside of the mask's box
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            mask[box] = _filled(mask[box])
    return filled


def _filled(mask: np.ndarray) -> np.ndarray:
    """Return all that cannot be reached from outside, in steps to the four neighbours."""
    framed = np.pad(mask.view(np.uint8), 1)
    cv2.floodFill(framed, None, (0, 0), _OUTSIDE, flags=4)
    return framed[1:-1, 1:-1] != _OUTSIDE
