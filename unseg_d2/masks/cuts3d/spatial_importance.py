"""Spatial Importance: patches along steps in depth are connected more strongly (CutS3D, section 3.3).

Shape legend
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

FLAT = 1e-3
"""Range of normalised depth, or of its difference to the blurred depth, below which depth carries no information."""


def spatial_importance(distance: np.ndarray, sigma: float, beta: float) -> np.ndarray | None:
    """Return how important each patch is: large where the depth changes within a few patches (equations 1 and 2).

    ``dD = |G_sigma * D - D|``, after Luft et al. 2006, is brought to ``[beta, 1]``.

    Args:
        distance: ``(h, w)`` normalised depth; importance does not depend on its direction.
        sigma: of the Gaussian, patches.
        beta: importance of the least important patch, in [0, 1).

    Returns:
        ``(h, w)`` float64 in [beta, 1], or ``None`` where depth is flat: then noise would be amplified.

    Raises:
        ValueError: if sigma or beta is out of range.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    if not 0 <= beta < 1:
        raise ValueError(f"beta must lie in [0, 1), got {beta}")
    # Reflection at the border: zeros outside would make the border of every image a step in depth.
    change = np.abs(ndimage.gaussian_filter(distance, sigma, mode="reflect") - distance)
    if np.ptp(distance) < FLAT or np.ptp(change) < FLAT * FLAT:
        return None
    return beta + (1 - beta) * (change - change.min()) / np.ptp(change)
