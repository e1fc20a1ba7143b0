"""From an eigenvector to the mask of one object: foreground side, seed, connected component.

Shape legend
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from unseg_d2.graph.ncut import TIE

MIN_FOREGROUND_CORNERS = 3  # a side that touches this many corners of the image is the background
NO_CUT_REASON = "no cut, as all patches are equally alike"


def change_tau(key: str, tau: float) -> str:
    """Return what to change where the graph of an image has no cut."""
    return (
        f"raise {key} (now {tau:g}) where all patches look alike, lower it where none do, or take other features or a "
        "larger FEATURES.IMAGE_SIZE."
    )


def foreground_side(
    eigenvector: np.ndarray, live: np.ndarray | None = None, *, corner_rule: bool = True
) -> tuple[np.ndarray, int]:
    """Split an eigenvector at its mean and choose the foreground side, as published.

    With the corner rule the choice depends on the sign of the eigenvector where the side of its peak touches three
    corners or more: a positive peak gives the complement, a negative one the side of the peak itself.

    Args:
        eigenvector: ``(h, w)`` float64.
        live: ``(h, w)`` bool, patches that take part, at least one; ``None`` is all.
        corner_rule: whether a side that touches three corners or more is the background.

    Returns:
        The side ``(h, w)`` bool, all false if the eigenvector is constant, and the seed: the row-major index of the
        first of the side's largest entries.
    """
    live = np.ones(eigenvector.shape, dtype=bool) if live is None else live
    side = live & (eigenvector > eigenvector[live].mean())
    if not side.any():
        return side, 0
    peak = _first_largest(np.abs(eigenvector), live)
    if (corner_rule and corners(side) >= MIN_FOREGROUND_CORNERS) or not side.flat[peak]:
        eigenvector, side = -eigenvector, live & ~side
    return side, _first_largest(eigenvector, live)


def other_side(eigenvector: np.ndarray, live: np.ndarray | None, side: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the other side of a bipartition and its seed.

    Args:
        eigenvector: ``(h, w)`` float64, split at its mean.
        live: ``(h, w)`` bool, patches that take part; ``None`` is all.
        side: ``(h, w)`` bool, one of its sides, not empty.

    Returns:
        The live patches of the other side ``(h, w)`` bool, and the row-major index of its most extreme entry.
    """
    live = np.ones(side.shape, dtype=bool) if live is None else live
    other = live & ~side
    return other, _first_largest(np.abs(eigenvector - eigenvector[live].mean()), other)


def corners(side: np.ndarray) -> int:
    """Return how many corners of the image a side ``(h, w)`` bool touches, 0 to 4."""
    return int(side[[0, 0, -1, -1], [0, -1, 0, -1]].sum())


def border_share(side: np.ndarray) -> float:
    """Return the share of the patches at the border of the image that a side ``(h, w)`` bool covers, in [0, 1].

    >>> border_share(np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0]], dtype=bool))
    0.375
    """
    border = np.ones(side.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    return float(side[border].mean())


def inner_side(eigenvector: np.ndarray) -> tuple[np.ndarray, int]:
    """Split an eigenvector at its mean and choose the side that covers less of the border of the image.

    What the photographer meant seldom fills the border: the boundary prior of salient object detection (Wei et al.,
    Geodesic Saliency Using Background Priors, ECCV 2012, section 2.1). Where both sides cover half of it, the side of
    the entry of largest magnitude is chosen.

    Args:
        eigenvector: ``(h, w)`` float64; neither its sign nor its length matters.

    Returns:
        The side ``(h, w)`` bool, all false if the eigenvector is constant, and the seed: the row-major index of the
        first of the side's most extreme entries.
    """
    side, seed = foreground_side(eigenvector, corner_rule=False)
    if not side.any() or border_share(side) <= 0.5:
        return side, seed
    return other_side(eigenvector, None, side)


def connected_component(side: np.ndarray, seed: int) -> np.ndarray:
    """Return the 4-connected component of ``(h, w)`` bool that holds a cell, or nothing if the cell is not set."""
    labels, _ = ndimage.label(side)
    label = labels.flat[seed]
    return (labels == label) & (label > 0)


def intersection_over_union(first: np.ndarray, second: np.ndarray) -> float:
    """Return the IoU of two bool masks; NaN if both are empty, which no threshold accepts or rejects."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else float("nan")


def _first_largest(values: np.ndarray, live: np.ndarray) -> int:
    """Row-major index of the first live entry that equals the largest one up to rounding."""
    largest = values[live].max()
    return int(np.argmax(live & (values >= largest - TIE * abs(largest))))
