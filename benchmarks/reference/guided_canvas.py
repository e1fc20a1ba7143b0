"""The colour guided filter on the whole image for each mask, by inverses, and SciPy's hole filling."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage


def guided_canvas(image: np.ndarray, masks: np.ndarray, *, radius: int, eps: float) -> np.ndarray:
    """Refine masks ``(n, H, W)`` bool by an image ``(H, W, 3)`` uint8 (He, Sun and Tang, PAMI 2013, section 3.5)."""
    guide = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 255
    size = (2 * radius + 1, 2 * radius + 1)
    share = 1 / cv2.boxFilter(np.ones(image.shape[:2], np.float32), -1, size, normalize=False, borderType=0)

    def mean(planes: np.ndarray) -> np.ndarray:
        sums = [cv2.boxFilter(plane, -1, size, normalize=False, borderType=0) for plane in planes]
        return np.stack(sums) * share

    means = mean(guide)
    covariance = np.stack([mean(guide * channel) - means * own for channel, own in zip(guide, means)])
    covariance[range(3), range(3)] += eps
    inverse = inverted(covariance)
    refined = []
    for mask in masks.astype(np.float32):
        (own,) = mean(mask[None])
        slope = (inverse * (mean(guide * mask) - means * own)).sum(1)
        offset = own - (slope * means).sum(0)
        found = (mean(slope) * guide).sum(0) + mean(offset[None])[0] > 0.5
        refined.append(ndimage.binary_fill_holes(found))
    return np.stack(refined)


def inverted(matrices: np.ndarray) -> np.ndarray:
    """Invert the positive definite matrix of each pixel, ``(c, c, H, W)``, by Gauss-Jordan steps on whole planes."""
    inverse = matrices.copy()
    for k in range(len(inverse)):
        pivot = 1 / inverse[k, k]
        row, column = inverse[k] * pivot, inverse[:, k].copy()
        inverse -= column[:, None] * row
        inverse[:, k] = -column * pivot
        inverse[k] = row
        inverse[k, k] = pivot
    return inverse
