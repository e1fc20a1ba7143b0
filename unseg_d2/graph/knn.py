"""The k-nearest-neighbour graph of a point cloud, kept so that one graph answers every threshold on edge length.

Shape legend
    n      points
    d      dimensions
    m      edges
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from unseg_d2.errors import Unusable


@dataclass(frozen=True)
class NeighbourGraph:
    """Undirected graph whose edges are sorted by length.

    Attributes:
        num_points: n.
        edges: ``(m, 2)`` intp, the smaller index first, each edge once.
        lengths: ``(m,)`` float64, ascending.
    """

    num_points: int
    edges: np.ndarray
    lengths: np.ndarray

    def up_to(self, length: float) -> NeighbourGraph:
        """Return the graph without the edges that are longer; a view, nothing is copied."""
        count = int(np.searchsorted(self.lengths, length, side="right"))
        return NeighbourGraph(self.num_points, self.edges[:count], self.lengths[:count])

    def components(self) -> np.ndarray:
        """Return the number of each point's connected component, ``(n,)`` int32, counted from 0."""
        first, second = self.edges.T
        joined = csr_array((np.ones(len(first), np.int8), (first, second)), shape=(self.num_points,) * 2)
        return connected_components(joined, directed=False)[1]


def knn_graph(points: np.ndarray, k: int) -> NeighbourGraph:
    """Connect each point with its k nearest ones; an edge needs only one of its two ends to ask for it.

    Args:
        points: ``(n, d)`` finite coordinates.
        k: neighbours of a point besides itself; all others where there are fewer.

    Raises:
        ValueError: if the points are not ``(n, d)``, not finite, or k is less than 1.

    >>> knn_graph(np.array([[0.0], [1.0], [5.0]]), k=1).lengths
    array([1., 4.])
    """
    if points.ndim != 2 or not np.isfinite(points).all():
        raise Unusable(f"expected finite points of shape (n, d), got {points.shape}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    n = len(points)
    k = min(k, n - 1)
    if k < 1:
        return NeighbourGraph(n, np.zeros((0, 2), np.intp), np.zeros(0))
    # Of coinciding points any may come first, so a point is not always the first of its own neighbours.
    distances, neighbours = cKDTree(points).query(points, k + 1)
    origins = np.repeat(np.arange(n), k + 1)
    targets, lengths = neighbours.ravel(), distances.ravel()
    pairs = np.minimum(origins, targets) * n + np.maximum(origins, targets)
    pairs, kept = np.unique(pairs, return_index=True)  # sorted, so that equal lengths have an order as well
    edges, lengths = np.stack(np.divmod(pairs, n), axis=1), lengths[kept]
    proper = edges[:, 0] != edges[:, 1]
    edges, lengths = edges[proper], lengths[proper]
    order = np.argsort(lengths, kind="stable")
    return NeighbourGraph(n, edges[order], lengths[order])
