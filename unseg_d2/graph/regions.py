"""The grid of patches as a graph of neighbours, and what becomes of it when some are joined.

Shape legend
    h, w   rows and columns of the patch grid
    k      nodes
    e      edges
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph


@lru_cache(maxsize=16)
def grid_edges(h: int, w: int) -> np.ndarray:
    """Return the pairs of horizontal, then of vertical neighbours of a grid, ``(2, e)`` int64 row-major indices.

    >>> grid_edges(2, 2).tolist()
    [[0, 2, 0, 1], [1, 3, 2, 3]]
    """
    nodes = np.arange(h * w).reshape(h, w)
    right = np.stack([nodes[:, :-1].ravel(), nodes[:, 1:].ravel()])
    below = np.stack([nodes[:-1].ravel(), nodes[1:].ravel()])
    edges = np.concatenate([right, below], axis=1)
    edges.flags.writeable = False  # all who ask share it
    return edges


def connected_groups(k: int, edges: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the number of connected groups of a graph, and the group of each node, numbered by their first nodes.

    Args:
        k: number of nodes.
        edges: ``(2, e)`` pairs of nodes, in any direction.

    Returns:
        The number of groups, and ``(k,)`` int64.
    """
    if not edges.shape[1]:
        return k, np.arange(k)
    graph = sparse.coo_array((np.ones(edges.shape[1], dtype=bool), (edges[0], edges[1])), shape=(k, k))
    count, groups = csgraph.connected_components(graph, directed=False)
    # SciPy numbers groups as it comes across them, which is not part of its interface.
    first = np.full(count, k)
    np.minimum.at(first, groups, np.arange(k))
    return int(count), np.argsort(np.argsort(first))[groups]


class Contracted(NamedTuple):
    """A graph whose nodes are groups of another one's.

    Attributes:
        edges: ``(2, e)`` int64, each pair of neighbouring groups once, the smaller number first, in ascending order.
        origin: ``(e,)`` int64, an edge of the other graph between the two groups.
    """

    edges: np.ndarray
    origin: np.ndarray


def contract(edges: np.ndarray, groups: np.ndarray, count: int) -> Contracted:
    """Return the graph of groups of nodes: two are neighbours where an edge joins nodes of theirs.

    Args:
        edges: ``(2, e)`` of the nodes.
        groups: ``(k,)`` group of each node.
        count: number of groups.
    """
    ends = groups[edges]
    between = np.flatnonzero(ends[0] != ends[1])
    low, high = np.minimum(*ends[:, between]), np.maximum(*ends[:, between])
    keys, first = np.unique(low * count + high, return_index=True)
    return Contracted(np.stack([keys // count, keys % count]), between[first])
