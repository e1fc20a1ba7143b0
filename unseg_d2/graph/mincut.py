"""Minimum s-t cut of an undirected graph by Dinic's algorithm (Dinic 1970), through SciPy.

Shape legend
    n      nodes
    m      edges
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, maximum_flow

from unseg_d2.errors import Unusable

UNITS = 100_000
"""Integer units that a capacity of 1 is rounded to; SciPy's solver takes int32."""

_MOST = np.iinfo(np.int32).max


@dataclass(frozen=True)
class MinimumCut:
    """The smallest and the largest of the minimum cuts; all others lie between them.

    Attributes:
        capacity: sum of the capacities of the edges that are cut, to within rounding.
        minimal: ``(n,)`` bool, the smallest source side: what the source still reaches when all flow is sent.
        maximal: ``(n,)`` bool, the largest source side: what can no longer reach the sink.
    """

    capacity: float
    minimal: np.ndarray
    maximal: np.ndarray


def minimum_cut(
    num_nodes: int, edges: np.ndarray, capacities: np.ndarray, sources: np.ndarray, sinks: np.ndarray
) -> MinimumCut:
    """Separate the sources of an undirected graph from its sinks at least cost.

    Where no path leads from a source to a sink nothing has to be cut, and no flow is computed. Then ``minimal`` is
    what is connected to the sources, while ``maximal`` also contains everything that is connected to neither.

    Args:
        num_nodes: n.
        edges: ``(m, 2)`` int, each edge once, in either direction.
        capacities: ``(m,)`` float in [0, 1], rounded to 1 / `UNITS`.
        sources: indices of the nodes that must lie on the source side, at least one.
        sinks: indices of the nodes that must not, at least one.

    Raises:
        ValueError: if a node is both source and sink, either is missing, a capacity is out of range, or the sources
            have so many edges (more than 20 000) that the flow can exceed int32.
    """
    sources, sinks = np.atleast_1d(sources), np.atleast_1d(sinks)
    if not len(sources) or not len(sinks) or np.isin(sources, sinks).any():
        raise Unusable("a minimum cut needs at least one source and one sink, and no node may be both")
    if len(capacities) and not (capacities.min() >= 0 and capacities.max() <= 1):  # NaN fails both
        raise Unusable("capacities must lie in [0, 1]")
    # All sources become node 0 and all sinks node 1; every other node gets its own number.
    merged = np.full(num_nodes, -1)
    merged[sources], merged[sinks] = 0, 1
    others = merged < 0
    merged[others] = np.arange(2, 2 + np.count_nonzero(others))
    graph = _symmetric(merged[edges], np.rint(capacities * UNITS).astype(np.int64), int(merged.max()) + 1)
    labels = connected_components(graph, directed=False)[1]
    if labels[0] != labels[1]:
        return MinimumCut(0.0, (labels == labels[0])[merged], (labels != labels[1])[merged])
    flow = maximum_flow(graph, 0, 1, method="dinic")
    residual = csr_array(graph - flow.flow)
    residual.eliminate_zeros()
    return MinimumCut(
        flow.flow_value / UNITS,
        _reached(residual, 0)[merged],
        ~_reached(csr_array(residual.T), 1)[merged],
    )


def _symmetric(edges: np.ndarray, units: np.ndarray, size: int) -> csr_array:
    """Capacities as a symmetric int32 matrix; parallel edges add up, loops and empty edges vanish."""
    proper = (edges[:, 0] != edges[:, 1]) & (units > 0)
    (first, second), units = edges[proper].T, units[proper]
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    graph = coo_array((np.concatenate([units, units]), (rows, columns)), shape=(size, size)).tocsr()
    if min(int(units[(first == end) | (second == end)].sum()) for end in (0, 1)) > _MOST:
        raise Unusable("the sources and the sinks have too many edges; give fewer of one of them")
    return csr_array(
        (np.minimum(graph.data, _MOST // 2).astype(np.int32), graph.indices, graph.indptr), shape=graph.shape
    )


def _reached(graph: csr_array, start: int) -> np.ndarray:
    """Nodes that a breadth-first search from ``start`` reaches, ``(n,)`` bool."""
    reached = np.zeros(graph.shape[0], bool)
    reached[breadth_first_order(graph, start, return_predecessors=False)] = True
    return reached
