"""Minimum cuts around every patch of a grid: loops compiled by Numba where it is installed, else SciPy, the same masks.

Shape legend
    r, c   rows and columns of the grid, n = r c patches
    m      links between neighbours, each in either direction
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from unseg_d2 import compiled

UNITS = 100_000
"""Integer units that a capacity or a distance of 1 is rounded to, so that both ways to a cut find the same one."""

DIRECTIONS = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Rows and columns from a patch to those of its neighbours that come after it."""


@dataclass(frozen=True)
class GridGraph:
    """Patches, how firmly they hold together, and what is background to which.

    Attributes:
        links: ``(4, r, c)`` int32, the capacity of each patch's link to the neighbour in each of `DIRECTIONS`, in
            units; 0 where there is none.
        distances: ``(n, n)`` int32, symmetric, between the features of two patches, in units.
        opposite: ``(n, n)`` bool, symmetric, whether one patch is background where the other one is the object.
    """

    links: np.ndarray
    distances: np.ndarray
    opposite: np.ndarray


def seed_foregrounds(graph: GridGraph) -> np.ndarray:
    """Cut every patch out of the grid at least cost.

    For a seed s, what is opposite to it and what equals such a patch is background, and what equals the seed is
    foreground. Every other patch p is drawn to the background by ``log(1 + exp(d_s - d_b))`` and to the seed by
    ``log(1 + exp(d_b - d_s))``, d_s being its distance to the seed and d_b the least to what is opposite: the negative
    logarithms of a softmax over both. Only their difference ``d_b - d_s`` decides, so one link per patch is enough.

    Args:
        graph: see :class:`GridGraph`.

    Returns:
        ``(n, n)`` bool, in row s the smallest source side of the minimum cut of seed s; empty where nothing is
        opposite to the seed.
    """
    if compiled.has_numba():
        from unseg_d2.masks.priors import flow_loops

        found: np.ndarray = flow_loops.foregrounds(all_directions(graph.links), graph.distances, graph.opposite)
        return found
    return foregrounds_by_scipy(graph)


def all_directions(links: np.ndarray) -> np.ndarray:
    """Return the links of each patch to all 8 neighbours, those opposite to each other at k and 7 - k.

    Args:
        links: ``(4, r, c)`` int32, see :class:`GridGraph`.

    Returns:
        ``(8, r + 2, c + 2)`` int32, with a border of patches that have no link.
    """
    rows, columns = links.shape[1:]
    padded = np.zeros((8, rows + 2, columns + 2), np.int32)
    for k, (plane, (down, right)) in enumerate(zip(links, DIRECTIONS)):
        padded[4 + k, 1:-1, 1:-1] = plane
        padded[3 - k, 1 + down : 1 + down + rows, 1 + right : 1 + right + columns] += plane
    return padded


def foregrounds_by_scipy(graph: GridGraph) -> np.ndarray:
    """Return what :func:`seed_foregrounds` does, by SciPy's maximum flow (Dinic 1970)."""
    edges, capacities = _edges(graph.links)
    n = len(graph.distances)
    source, sink, patches = n, n + 1, np.arange(n)
    rows = np.concatenate([edges[:, 0], np.full(n, source), patches])
    columns = np.concatenate([edges[:, 1], patches, np.full(n, sink)])
    layout = coo_array((np.arange(1, len(rows) + 1), (rows, columns)), shape=(n + 2, n + 2)).tocsr()
    order = layout.data - 1  # of the numbers below in the rows of the matrix
    fixed = int(np.bincount(edges[:, 0], capacities, minlength=n).max()) + 1
    found = np.zeros((n, n), dtype=bool)
    for seed in np.flatnonzero(graph.opposite.any(1)):
        pull = graph.distances[graph.opposite[seed]].min(0) - graph.distances[seed]
        pull[graph.distances[graph.opposite[seed]].min(0) == 0] = -fixed
        pull[graph.distances[seed] == 0] = fixed
        values = np.concatenate([capacities, np.maximum(pull, 0), np.maximum(-pull, 0)]).astype(np.int32)
        network = csr_array((values[order], layout.indices, layout.indptr), shape=layout.shape)
        residual = csr_array(network - maximum_flow(network, source, sink, method="dinic").flow)
        residual.eliminate_zeros()
        reached = breadth_first_order(residual, source, return_predecessors=False)
        found[seed, reached[reached < n]] = True
    return found


def _edges(links: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the links that have a capacity as edges ``(2 m, 2)`` in both directions, and their capacities."""
    rows, columns = links.shape[1:]
    numbers = np.arange(rows * columns).reshape(rows, columns)
    pairs, capacities = [], []
    for plane, (down, right) in zip(links, DIRECTIONS):
        first = numbers[plane > 0]
        pairs.append(np.stack([first, first + down * columns + right], axis=1))
        capacities.append(plane[plane > 0])
    forth = np.concatenate(pairs)
    return np.concatenate([forth, forth[:, ::-1]]), np.tile(np.concatenate(capacities), 2)
