"""Proposals that agree, found and merged by vote (Arica et al., CuVLER, CVPR 2024, section 3.1).

Shape legend
    n      proposals of one image, of all members of the ensemble
    h, w   rows and columns of the grid on which they are compared
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Mode = Literal["default", "parity"]

PIVOT_STEPS = 5  # times that a cluster is extended by the neighbours of its newest pivot
TIE = 1e-9  # sums of IoUs closer than this are equal


@dataclass(frozen=True)
class VoteCluster:
    """Proposals that show the same object.

    Attributes:
        pivot: index of the proposal that agrees best with the others.
        members: indices of the proposals that vote, ascending.
    """

    pivot: int
    members: np.ndarray

    @property
    def size(self) -> int:
        """Number of votes."""
        return len(self.members)


def pairwise_iou(masks: np.ndarray) -> np.ndarray:
    """Return the IoU of every pair of ``(n, h, w)`` bool masks, ``(n, n)`` float64; 0 for two empty masks.

    Overlaps come from one matrix product: in float32, which counts up to 2^24 cells exactly.
    """
    flat = masks.reshape(len(masks), masks.shape[1] * masks.shape[2]).astype(np.float32)
    overlap = (flat @ flat.T).astype(np.float64)
    area = np.diagonal(overlap)
    return overlap / np.maximum(area[:, None] + area - overlap, 1)


def greedy_clusters(iou: np.ndarray, threshold: float, mode: Mode) -> list[VoteCluster]:
    """Group proposals around pivots, those with many neighbours first.

    A cluster starts as one proposal, and up to five times takes in the neighbours of its pivot and moves the pivot to
    the member with the largest sum of IoUs with the members. Two proposals are neighbours when their IoU is above the
    threshold.

    ``default`` lets each proposal vote once: a cluster grows over proposals that no earlier one has taken. ``parity``
    does what the published code does: a cluster grows over all proposals, so that its pivot can end up on one that is
    taken already, and then all its members are lost.

    Ties are explicit. Of proposals with equally many neighbours ``default`` starts with the first, ``parity`` with the
    last, which is what the published order (an ascending sort, reversed) gives wherever its sort happens to be stable.
    Of members with equal sums of IoUs the pivot is the first.

    Args:
        iou: ``(n, n)`` of :func:`pairwise_iou`.
        threshold: IoU that neighbours exceed, in [0, 1].
        mode: ``default`` or ``parity``.

    Returns:
        Clusters in the order in which they are found; together they hold each proposal once (``parity``: at most once).
    """
    neighbours = iou > threshold
    ascending = np.argsort(neighbours.sum(1), kind="stable")
    order = ascending[::-1] if mode == "parity" else np.argsort(-neighbours.sum(1), kind="stable")
    free = np.ones(len(iou), dtype=bool)
    clusters = []
    for first in order:
        if not free[first]:
            continue
        pivot, cluster = _grow(first, iou, neighbours if mode == "parity" else neighbours & free)
        if free[pivot]:
            clusters.append(VoteCluster(int(pivot), np.flatnonzero(cluster & free)))
        free &= ~cluster
    return clusters


def _grow(pivot: int, iou: np.ndarray, neighbours: np.ndarray) -> tuple[int, np.ndarray]:
    """Final pivot and members ``(n,)`` bool of the cluster that starts at a proposal."""
    cluster = np.zeros(len(iou), dtype=bool)
    cluster[pivot] = True
    for _ in range(PIVOT_STEPS):
        grown = cluster | neighbours[pivot]
        if (grown == cluster).all():
            break
        cluster = grown
        members = np.flatnonzero(cluster)
        agreement = iou[np.ix_(members, members)].sum(1)
        pivot = members[np.argmax(agreement >= agreement.max() - TIE)]
    return pivot, cluster


def vote(masks: np.ndarray, threshold: float = 0.2) -> np.ndarray:
    """Return the cells that more than a share of ``(n, h, w)`` bool masks contain, ``(h, w)`` bool (tau_m)."""
    return masks.sum(0) / len(masks) > threshold
