"""k-means of numbers as scikit-learn searches for it, which is what the published VoteCut clusters with.

It stops before it has converged, so that a few numbers between two clusters are labelled differently from the optimum
of :mod:`unseg_d2.masks.votecut.kmeans_1d`; and a few patches can decide what becomes one piece. The numbers of NumPy's
``RandomState`` never change, so the labels are those of ``KMeans(k, n_init=10, random_state=0)``.

Shape legend
    n      numbers
    k      clusters
    r      restarts
    t      candidates for a seed
"""

from __future__ import annotations

import numpy as np

RESTARTS, MAX_STEPS, TOLERANCE = 10, 300, 1e-4


def lloyd_kmeans_1d(values: np.ndarray, num_clusters: int) -> np.ndarray:
    """Cluster numbers by Lloyd's iterations from ten greedy k-means++ seeds, and keep the best.

    All restarts are taken together: of sorted numbers a cluster is an interval, and prefix sums give its mean at once.

    Args:
        values: ``(n,)`` finite numbers, at least one.
        num_clusters: k, at least 1.

    Returns:
        The cluster of each number, ``(n,)`` int64 in [0, k), numbered in the order in which their seeds were drawn.
    """
    centred = values.astype(np.float64) - values.mean()
    seeds = _plus_plus(centred, num_clusters)
    place = seeds.argsort(1, kind="stable")
    ordered = np.sort(centred)
    powers = np.stack([np.ones_like(ordered), ordered, ordered**2])
    sums = np.concatenate([np.zeros((3, 1)), powers.cumsum(1)], axis=1)
    centres = _iterate(ordered, sums, np.take_along_axis(seeds, place, 1), TOLERANCE * centred.var())
    bounds = _bounds(ordered, centres)
    counts, totals, squares = sums[:, bounds[:, 1:]] - sums[:, bounds[:, :-1]]
    inertia = (squares - 2 * centres * totals + centres**2 * counts).sum(1)
    best = 0
    for restart in range(1, RESTARTS):  # of equal clusterings the first one numbers the clusters
        if inertia[restart] < inertia[best] and (bounds[restart] != bounds[best]).any():
            best = restart
    return place[best][np.searchsorted((centres[best, 1:] + centres[best, :-1]) / 2, centred)]


def _plus_plus(values: np.ndarray, k: int) -> np.ndarray:
    """Draw the seeds ``(r, k)``: each the best of t candidates drawn with probability by squared distance.

    Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007, with its greedy choice.
    """
    n, t = len(values), 2 + int(np.log(k))
    uniform = np.random.RandomState(0).random_sample((RESTARTS, 1 + (k - 1) * t))
    probability = np.full(n, 1 / n).cumsum()
    chosen = values[np.searchsorted(probability / probability[-1], uniform[:, :1], side="right")]
    distance = (values - chosen) ** 2
    for draws in np.split(uniform[:, 1:], k - 1, axis=1) if k > 1 else ():
        cumulative, draws = distance.cumsum(1), draws * distance.sum(1, keepdims=True)
        drawn = [np.searchsorted(row, draw) for row, draw in zip(cumulative, draws)]
        candidates = values[np.minimum(drawn, n - 1)]
        nearer = values - candidates[:, :, None]
        nearer *= nearer
        np.minimum(nearer, distance[:, None], out=nearer)
        best = nearer.sum(2).argmin(1)[:, None]
        distance = nearer[np.arange(RESTARTS), best[:, 0]]
        chosen = np.concatenate([chosen, np.take_along_axis(candidates, best, 1)], axis=1)
    return chosen


def _iterate(ordered: np.ndarray, sums: np.ndarray, centres: np.ndarray, tolerance: float) -> np.ndarray:
    """Move the ``(r, k)`` ascending centres of each restart to the means of their numbers, until they hardly move.

    Args:
        ordered: ``(n,)`` ascending.
        sums: ``(3, n + 1)`` prefix sums of ones, the numbers, and their squares.
        centres: ``(r, k)``.
        tolerance: a restart continues while the summed squared movement of its centres exceeds this.
    """
    result, active = centres.copy(), np.arange(len(centres))
    previous = None
    for _ in range(MAX_STEPS):
        bounds = _bounds(ordered, centres)
        totals = sums[1][bounds]
        counts = bounds[:, 1:] - bounds[:, :-1]
        means = np.where(counts > 0, (totals[:, 1:] - totals[:, :-1]) / np.maximum(counts, 1), centres)
        result[active] = means
        moving = ((means - centres) ** 2).sum(1) > tolerance
        if previous is not None:
            moving &= (bounds != previous).any(1)
        centres, previous, active = means[moving], bounds[moving], active[moving]
        if not len(active):
            break
    return result


def _bounds(ordered: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Where the clusters of ``(r, k)`` ascending centres begin and end in the sorted numbers, ``(r, k + 1)``."""
    bounds = np.zeros((len(centres), centres.shape[1] + 1), dtype=np.int64)
    bounds[:, 1:-1] = np.searchsorted(ordered, (centres[:, 1:] + centres[:, :-1]) / 2, side="right")
    bounds[:, -1] = len(ordered)
    return bounds
