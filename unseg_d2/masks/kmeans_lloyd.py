"""k-means of numbers as scikit-learn searches for it, which is what the published VoteCut clusters with.

It stops before it has converged, so that a few numbers between two clusters come out otherwise than in the optimum of
:mod:`unseg_d2.masks.kmeans_1d`; and a few patches can decide what becomes one piece. NumPy's ``RandomState`` never
changes its numbers, so the labels are those of ``KMeans(k, n_init=10, random_state=0)``.

Shape legend
    n      numbers
    k      clusters
    r      restarts
"""

from __future__ import annotations

import numpy as np

RESTARTS, MAX_STEPS, TOLERANCE = 10, 300, 1e-4


def lloyd_kmeans_1d(values: np.ndarray, num_clusters: int) -> np.ndarray:
    """Cluster numbers by Lloyd's iterations from ten greedy k-means++ seeds, and keep the best.

    All restarts go through the iterations together: of sorted numbers a cluster is an interval, and prefix sums give
    its mean at once.

    Args:
        values: ``(n,)`` finite numbers, at least one.
        num_clusters: k, at least 1.

    Returns:
        The cluster of each number, ``(n,)`` int64 in [0, k), numbered in the order in which their seeds were drawn.
    """
    centred = values.astype(np.float64) - values.mean()
    random = np.random.RandomState(0)
    seeds = np.stack([_plus_plus(centred, num_clusters, random) for _ in range(RESTARTS)])
    place = seeds.argsort(1, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(np.sort(centred))])
    centres = _iterate(np.sort(centred), sums, np.take_along_axis(seeds, place, 1), TOLERANCE * centred.var())
    labels = [np.searchsorted((row[1:] + row[:-1]) / 2, centred) for row in centres]
    inertia = [((centred - row[label]) ** 2).sum() for row, label in zip(centres, labels)]
    best = 0
    for restart in range(1, RESTARTS):  # of equal clusterings the first one numbers the clusters
        if inertia[restart] < inertia[best] and (labels[restart] != labels[best]).any():
            best = restart
    return place[best][labels[best]]


def _plus_plus(values: np.ndarray, k: int, random: np.random.RandomState) -> np.ndarray:
    """Draw k seeds ``(k,)``: each the best of a few candidates drawn with probability by squared distance.

    Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007, with its greedy choice.
    """
    candidates = 2 + int(np.log(k))
    chosen = [values[random.choice(len(values), p=np.full(len(values), 1 / len(values)))]]
    distance = (values - chosen[0]) ** 2
    for _ in range(1, k):
        draws = random.uniform(size=candidates) * distance.sum()
        drawn = values[np.minimum(np.searchsorted(np.cumsum(distance), draws), len(values) - 1)]
        nearer = np.minimum(distance, (values - drawn[:, None]) ** 2)
        best = int(nearer.sum(1).argmin())
        distance = nearer[best]
        chosen.append(drawn[best])
    return np.array(chosen)


def _iterate(ordered: np.ndarray, sums: np.ndarray, centres: np.ndarray, tolerance: float) -> np.ndarray:
    """Move the ``(r, k)`` ascending centres of each restart to the means of their numbers, until they hardly move.

    Args:
        ordered: ``(n,)`` ascending.
        sums: ``(n + 1,)`` prefix sums of them.
        centres: ``(r, k)``.
        tolerance: squared distances by which the centres of a restart move, summed, from which on it goes on.
    """
    n = len(ordered)
    edge = np.zeros((len(centres), 1), dtype=np.int64)
    previous = np.full((len(centres), centres.shape[1] - 1), -1)
    active = np.ones(len(centres), dtype=bool)
    for _ in range(MAX_STEPS):
        cuts = np.searchsorted(ordered, (centres[:, 1:] + centres[:, :-1]) / 2, side="right")
        bounds = np.concatenate([edge, cuts, edge + n], axis=1)
        counts = np.diff(bounds, axis=1)
        means = np.where(counts > 0, np.diff(sums[bounds], axis=1) / np.maximum(counts, 1), centres)
        moved = ((means - centres) ** 2).sum(1)
        centres = np.where(active[:, None], means, centres)
        active &= (cuts != previous).any(1) & (moved > tolerance)
        previous = cuts
        if not active.any():
            break
    return centres
