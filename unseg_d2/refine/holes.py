"""Filling the holes of masks."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


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
            mask[box] = ndimage.binary_fill_holes(mask[box])
    return filled
