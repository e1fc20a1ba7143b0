"""Mean shift on numbers (Comaniciu and Meer, PAMI 2002) with a flat kernel, and scikit-learn's rule for its bandwidth.

Shape legend
    n      numbers
    k      clusters
"""

from __future__ import annotations

import numpy as np

STOP = 1e-3  # share of the bandwidth by which a centre must move to be moved again
MOST_STEPS = 300
LEAST_BANDWIDTH = 1.0  # the smallest difference of two whole numbers


def estimated_bandwidth(values: np.ndarray, quantile: float) -> float:
    """Return the mean distance of a number to the farthest of its nearest ones.

    Args:
        values: ``(n,)`` whole numbers as float64, not empty.
        quantile: share of the numbers that count as the nearest ones of each, itself included.

    Returns:
        At least 1, the smallest difference of two whole numbers: where many are equal, the mean can be 0.

    >>> estimated_bandwidth(np.array([0.0, 1.0, 10.0, 12.0]), 0.5)
    1.5
    """
    count = max(1, int(len(values) * quantile))
    distances = np.abs(values[:, None] - values)
    farthest = np.partition(distances, count - 1, axis=1)[:, count - 1]
    return max(LEAST_BANDWIDTH, float(farthest.mean()))


def mean_shift(values: np.ndarray, bandwidth: float) -> tuple[np.ndarray, np.ndarray]:
    """Cluster numbers around the places that they lie most densely at.

    A window starts from every multiple of the bandwidth that a number is rounded to, and moves to the mean of the
    numbers in it until it stays. Of windows whose centres are within a bandwidth of each other, the one with the most
    numbers is kept, and in a tie the one with the largest centre.

    Args:
        values: ``(n,)`` float64, not empty.
        bandwidth: half of the width of a window, above 0.

    Returns:
        The centres ``(k,)`` in ascending order, and the index of the centre next to each number ``(n,)``, in a tie the
        lower one.
    """
    found: dict[float, int] = {}
    for start in np.unique(np.round(values / bandwidth)) * bandwidth:
        centre, count = _settled(values, float(start), bandwidth)
        if count:
            found[centre] = count
    kept: list[float] = []
    for centre in sorted(found, key=lambda centre: (-found[centre], -centre)):
        if all(abs(centre - other) > bandwidth for other in kept):
            kept.append(centre)
    centres = np.sort(np.array(kept))
    return centres, np.abs(values[:, None] - centres).argmin(axis=1)


def _settled(values: np.ndarray, centre: float, bandwidth: float) -> tuple[float, int]:
    """Where a window ends, and how many numbers it holds."""
    count = 0
    for _ in range(MOST_STEPS):
        within = values[np.abs(values - centre) <= bandwidth]
        count = len(within)
        if not count:
            break
        before, centre = centre, float(within.mean())
        if abs(centre - before) <= STOP * bandwidth:
            break
    return centre, count
