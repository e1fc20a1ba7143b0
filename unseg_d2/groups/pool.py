"""One description per mask: the mean of the patch tokens that it covers.

Shape legend
    H, W   height and width of the image in pixels
    h, w   rows and columns of the patch grid
    C      channels
    n      masks
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

HALF = 0.5
"""Share of a patch from which on a mask has it; where a mask has none, all that it touches count."""


def pool_masks(tokens: Tensor, masks: np.ndarray, shown: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Describe each mask by the mean direction of the tokens that it covers.

    Tokens have unit length before the mean is taken, weighted by the share of each patch that the mask covers, and the
    mean has unit length again: cosines of two masks compare what they show, not how large or bright it is. Patches of
    which a mask has less than half count only where it has no others, so that what surrounds it stays out.

    Args:
        tokens: ``(C, h, w)``, any length.
        masks: ``(n, H, W)`` bool.
        shown: share of the grid's rows and columns, from the top left, that shows the image, in (0, 1].

    Returns:
        ``(n, C)`` float32 of unit length; NaN for a mask without pixels.
    """
    vectors = tokens.detach().to("cpu").double().numpy()
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=0), np.finfo(float).tiny)
    weights = cell_coverage(masks, vectors.shape[1:], shown)
    whole = weights >= HALF
    weights = np.where(whole.any((1, 2), keepdims=True), weights * whole, weights)
    sums = np.einsum("nhw,chw->nc", weights, vectors, optimize=True)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums / length).astype(np.float32)


def cell_coverage(masks: np.ndarray, grid: tuple[int, ...], shown: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Return which share of each cell masks cover, exactly, whatever the sizes.

    Args:
        masks: ``(n, H, W)`` bool.
        grid: h and w.
        shown: see :func:`pool_masks`.

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
