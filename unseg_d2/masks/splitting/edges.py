"""Edges for splitting masks, from depth and from the image itself.

Shape legend
    H, W   height and width in pixels
"""

from __future__ import annotations

import cv2
import numpy as np

from unseg_d2.masks.cuts3d.point_cloud import relief
from unseg_d2.structures import DepthKind

BLUR = 1.4  # sigma of the Gaussian before Canny's gradients, pixels (Canny, PAMI 1986, leaves it open)
CLIPPED = 1.0  # percent of the depths at either end that do not stretch the range


def depth_edges(depth: np.ndarray, kind: DepthKind, step: float) -> np.ndarray:
    """Return how much the depth jumps between a pixel and its neighbours.

    Args:
        depth: ``(H, W)`` finite.
        kind: ``metric``, ``relative`` or ``inverse``.
        step: difference of disparity, as a share of its range in the image, that is an edge of strength 1.

    Returns:
        ``(H, W)`` float32 in [0, 1]: the largest difference to the four neighbours, on both sides of the step.

    Raises:
        ValueError: whatever `relief` raises.
    """
    distance = relief(depth, kind, axis="disparity", percentile=CLIPPED)
    jumps = np.zeros_like(distance)
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        difference = np.abs(distance[one] - distance[other])
        jumps[one] = np.maximum(jumps[one], difference)
        jumps[other] = np.maximum(jumps[other], difference)
    return np.minimum(jumps / step, 1).astype(np.float32)


def canny_edges(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the contours of an image by Canny's detector (PAMI 1986), as OpenCV computes it.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        low: gradient from which a pixel continues an edge.
        high: gradient from which a pixel begins one.

    Returns:
        ``(H, W)`` float32, 0 or 1. The lines are a pixel wide and 8-connected: closed ones separate 4-connected parts.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), BLUR)
    return np.asarray(cv2.Canny(grey, low, high, L2gradient=True) > 0, dtype=np.float32)
