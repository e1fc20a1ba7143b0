"""Exact k-means of numbers: in one dimension clusters are intervals, so that the optimum can be computed.

Shape legend
    n      numbers
    m      distinct numbers among them
    k      clusters
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unseg_d2.errors import Unusable

RESOLUTION = 1e-9  # of the range: numbers closer than this are the same number
UNREACHED = 1e300  # cost of more clusters than numbers; finite, so that sums of it stay ordered


def kmeans_1d(values: np.ndarray, num_clusters: Sequence[int]) -> list[np.ndarray]:
    """Partition numbers into clusters with the least sum of squared distances to the mean of their cluster.

    Dynamic programming over the sorted distinct numbers: the best last cut never moves left when a number is added on
    the right, so each further cluster takes ``O(m log m)`` (Wu, Optimal quantization by matrix searching, 1991; Wang
    and Song, Ckmeans.1d.dp, The R Journal 2011). The result is the optimum that Lloyd's iterations with restarts
    approach.

    Args:
        values: ``(n,)`` finite numbers, at least one. Numbers that are equal up to rounding share a cluster.
        num_clusters: the values of k, each at least 1; one run answers all of them.

    Returns:
        For each k the cluster of each number, ``(n,)`` int64 from 0 (the lowest numbers) to k - 1; fewer clusters
        where there are fewer distinct numbers. Among equally good partitions, that with the leftmost last cut.

    Raises:
        ValueError: if there is no number or one is not finite, or a k is below 1.
    """
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise Unusable(f"expected (n,) finite numbers, got {values.dtype} {values.shape}")
    if min(num_clusters) < 1:
        raise ValueError(f"num_clusters must be at least 1, got {min(num_clusters)}")
    values = values.astype(np.float64)
    low, extent = values.min(), max(np.ptp(values), np.finfo(np.float64).tiny)
    ticks = np.rint((values - low) / (extent * RESOLUTION))
    distinct, place, counts = np.unique(ticks, return_inverse=True, return_counts=True)
    cuts = _best_cuts(distinct * RESOLUTION - 0.5, counts, min(max(num_clusters), len(distinct)))
    return [_labels(cuts[: min(k, len(distinct))], len(distinct))[place] for k in num_clusters]


def _best_cuts(points: np.ndarray, counts: np.ndarray, most: int) -> list[np.ndarray]:
    """Where the last of 1, 2, ... ``most`` clusters of the first j points begins at best, ``(m + 1,)`` each.

    For ``most`` clusters only j = m is computed.
    """
    m = len(points)
    sums = np.stack([np.concatenate([[0.0], np.cumsum(counts * points**power)]) for power in range(3)])
    ends = np.arange(m + 1)
    cost = _spread(sums, np.zeros(m + 1, dtype=np.int64), ends)
    cuts = [np.zeros(m + 1, dtype=np.int64)]
    for clusters in range(2, most):
        cost, begins = _add_cluster(cost, sums, clusters)
        cuts.append(begins)
    if most > 1:  # for the largest number of clusters only the partition of all points is needed
        begins = np.zeros(m + 1, dtype=np.int64)
        _, begins[m:] = _best_begins(cost, sums, np.array([m]), np.array([most - 1]), np.array([m - 1]))
        cuts.append(begins)
    return cuts


def _add_cluster(cost: np.ndarray, sums: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Cost ``(m + 1,)`` of the first j points in ``clusters`` clusters, from that in one less, and the last's begin.

    The begins are monotone: those of every 2nd, then of every 4th point ... bound those of the points between. All
    points of a level are solved at once, their ranges of candidates laid end to end.
    """
    m = len(cost) - 1
    better, begins = np.full(m + 1, UNREACHED), np.zeros(m + 1, dtype=np.int64)
    lowest, highest = np.full(m + 1, clusters - 1), np.arange(m + 1) - 1  # each cluster holds a point
    step = 1 << m.bit_length()
    while step > 1:
        ends = np.arange(step // 2, m + 1, step)
        ends = ends[ends >= clusters]
        if len(ends):
            before, after = ends - step // 2, ends + step // 2
            low = np.where(before >= clusters, begins[before], lowest[ends])
            high = np.where(after <= m, begins[np.minimum(after, m)], highest[ends])
            high = np.minimum(high, highest[ends])
            better[ends], begins[ends] = _best_begins(cost, sums, ends, low, high)
        step //= 2
    return better, begins


def _best_begins(
    cost: np.ndarray, sums: np.ndarray, ends: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each end the least ``cost[begin] + spread(begin, end)`` for ``low <= begin <= high``, and its first begin."""
    lengths = high - low + 1
    firsts = np.cumsum(lengths) - lengths
    begins = np.arange(lengths.sum()) + np.repeat(low - firsts, lengths)
    totals = cost[begins] + _spread(sums, begins, np.repeat(ends, lengths))
    least = np.minimum.reduceat(totals, firsts)
    hits = np.flatnonzero(totals == np.repeat(least, lengths))
    return least, begins[hits[np.searchsorted(hits, firsts)]]


def _spread(sums: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sum of squared distances of the points from ``begin`` to ``end`` (exclusive) to their mean."""
    count, total, squares = sums.take(ends, axis=1) - sums.take(begins, axis=1)
    total *= total
    total /= np.maximum(count, 1)
    return np.maximum(squares - total, 0)


def _labels(cuts: list[np.ndarray], m: int) -> np.ndarray:
    """Cluster of each of m points, from the begins that the last clusters of the best partitions have."""
    labels, end = np.zeros(m, dtype=np.int64), m
    for begins in reversed(cuts):
        end = begins[end]
        labels[end:] += 1
    return labels - 1
