"""The tree of merges of a graph: neighbours are joined, the closest first, until one region is left (Ward, 1963).

Shape legend
    n      leaves: patches
    m      merges, n - 1 of a connected graph; node n + k is what merge k makes
    e      pairs of neighbours
    C      feature channels
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np


class Merges(NamedTuple):
    """Merges in the order in which they happen.

    Attributes:
        children: ``(m, 2)`` int64, the nodes that each merge joins, the smaller number first.
        heights: ``(m,)`` float64, how far apart they were: ``sqrt(2 |i| |j| / (|i| + |j|))`` times the distance of
            their means, the root of twice what the merge adds to the sum of squares.
    """

    children: np.ndarray
    heights: np.ndarray


def ward_tree(points: np.ndarray, edges: np.ndarray) -> Merges:
    """Join neighbours by Ward's criterion: the pair that adds least to the sum of squared distances to region means.

    Small regions are joined before large ones that are as far apart, so that one region does not swallow its
    neighbours patch by patch. Of equal pairs the one of the smaller numbers comes first.

    Args:
        points: ``(n, C)`` finite features.
        edges: ``(2, e)`` pairs of neighbours.
    """
    n = len(points)
    means = np.concatenate([points.astype(np.float64), np.empty((max(n - 1, 0), points.shape[1]))])
    areas = np.ones(len(means))
    neighbours: list[set[int]] = [set() for _ in range(len(means))]
    for i, j in edges.T.tolist():
        neighbours[i].add(j)
        neighbours[j].add(i)
    costs = ((points[edges[0]].astype(np.float64) - points[edges[1]]) ** 2).sum(1)
    heap = [(cost, min(pair), max(pair)) for cost, pair in zip(costs.tolist(), edges.T.tolist())]
    heapq.heapify(heap)
    children: list[tuple[int, int]] = []
    heights: list[float] = []
    joined = [False] * len(means)
    while heap:
        cost, i, j = heapq.heappop(heap)
        if joined[i] or joined[j]:
            continue
        new = n + len(children)
        children.append((i, j))
        heights.append(cost**0.5)
        joined[i] = joined[j] = True
        areas[new] = areas[i] + areas[j]
        means[new] = (areas[i] * means[i] + areas[j] * means[j]) / areas[new]
        around = sorted((neighbours[i] | neighbours[j]) - {i, j})
        neighbours[new] = set(around)
        squares = ((means[around] - means[new]) ** 2).sum(1)
        for other, cost in zip(
            around, (2 * areas[around] * areas[new] / (areas[around] + areas[new]) * squares).tolist()
        ):
            neighbours[other] -= {i, j}
            neighbours[other].add(new)
            heapq.heappush(heap, (cost, other, new))
    return Merges(np.array(children, dtype=np.int64).reshape(-1, 2), np.array(heights))


class Spans(NamedTuple):
    """The leaves in an order in which those of every node are next to each other.

    Attributes:
        order: ``(n,)`` int64 leaves.
        first: ``(n + m,)`` int64, where in the order those of each node begin.
        areas: ``(n + m,)`` int64, how many each node has.
    """

    order: np.ndarray
    first: np.ndarray
    areas: np.ndarray

    def leaves(self, node: int) -> np.ndarray:
        """Return the leaves of a node."""
        return self.order[self.first[node] : self.first[node] + self.areas[node]]


def spans(tree: Merges, n: int) -> Spans:
    """Return where the leaves of each node are.

    Args:
        tree: of n leaves.
        n: number of leaves.
    """
    pairs = tree.children.tolist()
    areas = np.ones(n + len(pairs), dtype=np.int64)
    for node, (i, j) in enumerate(pairs, start=n):
        areas[node] = areas[i] + areas[j]
    first = np.zeros(len(areas), dtype=np.int64)
    inner = np.zeros(len(areas), dtype=bool)
    inner[tree.children.ravel()] = True
    roots = np.flatnonzero(~inner)
    first[roots] = np.cumsum(areas[roots]) - areas[roots]
    for node in range(len(areas) - 1, n - 1, -1):
        i, j = pairs[node - n]
        first[i] = first[node]
        first[j] = first[node] + areas[i]
    order = np.empty(n, dtype=np.int64)
    order[first[:n]] = np.arange(n)
    return Spans(order, first, areas)
