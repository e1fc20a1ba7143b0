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

from unseg_d2.pixels import cell_coverage

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
    weights = cell_coverage(masks, (vectors.shape[1], vectors.shape[2]), shown)
    whole = weights >= HALF
    weights = np.where(whole.any((1, 2), keepdims=True), weights * whole, weights)
    sums = np.einsum("nhw,chw->nc", weights, vectors, optimize=True)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums / length).astype(np.float32)
