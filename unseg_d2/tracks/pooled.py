"""Features of masks: the mean of the patch tokens that a mask covers, as it differs from the whole frame.

Shape legend
    H, W   height and width of the image in pixels
    h, w   rows and columns of the patch grid
    n      masks
    C      feature channels
"""

from __future__ import annotations

import cv2
import numpy as np


def pooled_features(tokens: np.ndarray, masks: np.ndarray, shown: tuple[float, float]) -> np.ndarray:
    """Return a vector for each mask.

    Tokens are brought to length 1, and the mean token of the frame is taken away: what all patches have in common, such
    as the light, says nothing about whose mask it is.

    Args:
        tokens: ``(C, h, w)``.
        masks: ``(n, H, W)`` bool.
        shown: share of the rows and of the columns of the grid that shows the image.

    Returns:
        ``(n, C)`` float32 of length 1; 0 where a mask covers no patch, or differs in nothing.
    """
    channels, h, w = tokens.shape
    unit = tokens.reshape(channels, -1).astype(np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=0), 1e-12)
    rows, columns = round(shown[0] * h), round(shown[1] * w)
    on_image = np.zeros((h, w), bool)
    on_image[: max(1, rows), : max(1, columns)] = True
    unit = unit - unit[:, on_image.ravel()].mean(axis=1, keepdims=True)
    pooled = np.zeros((len(masks), channels), np.float32)
    for row, mask in enumerate(masks):
        weights = patch_weights(mask, (h, w), shown).ravel()
        pooled[row] = unit @ weights / max(float(weights.sum()), 1e-12)
    lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
    return np.divide(pooled, lengths, out=np.zeros_like(pooled), where=lengths > 1e-6)


def patch_weights(mask: np.ndarray, grid: tuple[int, int], shown: tuple[float, float]) -> np.ndarray:
    """Return the share of each patch that a mask covers.

    Args:
        mask: ``(H, W)`` bool.
        grid: ``(h, w)``.
        shown: see :func:`pooled_features`.

    Returns:
        ``(h, w)`` float32 in [0, 1].
    """
    height, width = (round(side / share) for side, share in zip(mask.shape, shown))
    canvas = np.zeros((max(height, mask.shape[0]), max(width, mask.shape[1])), np.float32)
    canvas[: mask.shape[0], : mask.shape[1]] = mask
    return cv2.resize(canvas, grid[::-1], interpolation=cv2.INTER_AREA)
