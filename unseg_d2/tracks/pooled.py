"""Features of masks: the mean of the patch tokens that a mask covers, as it differs from the whole frame.

Shape legend
    H, W   height and width of the image in pixels
    h, w   rows and columns of the patch grid
    n      masks
    C      feature channels
"""

from __future__ import annotations

import numpy as np

from unseg_d2.pixels import cell_coverage


def pooled_features(tokens: np.ndarray, masks: np.ndarray, shown: tuple[float, float]) -> np.ndarray:
    """Return a vector for each mask.

    Tokens are brought to length 1, and the mean token of the frame is taken away: what all patches have in common, such
    as the light, says nothing about whose mask it is. In both means, a patch counts as much as the mask, or the frame,
    covers of it.

    Args:
        tokens: ``(C, h, w)``.
        masks: ``(n, H, W)`` bool.
        shown: share of the rows and of the columns of the grid that shows the image.

    Returns:
        ``(n, C)`` float32 of length 1; 0 where a mask has no pixel, or differs in nothing.
    """
    channels, h, w = tokens.shape
    unit = tokens.reshape(channels, -1).astype(np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=0), 1e-12)
    frame = np.ones((1, *masks.shape[1:]), bool)
    of_frame, *of_masks = cell_coverage(np.concatenate([frame, masks]), (h, w), shown).astype(np.float32)
    unit = unit - _mean(unit, of_frame)[:, None]
    pooled = np.zeros((len(masks), channels), np.float32)
    for row, weights in enumerate(of_masks):
        pooled[row] = _mean(unit, weights)
    lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
    return np.divide(pooled, lengths, out=np.zeros_like(pooled), where=lengths > 1e-6)


def _mean(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean ``(C,)`` of vectors ``(C, h w)``, weighted by ``(h, w)``; 0 where all weights are."""
    mean: np.ndarray = vectors @ weights.ravel() / max(float(weights.sum()), 1e-12)
    return mean
