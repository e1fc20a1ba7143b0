"""The tree of merges of a graph: neighbours are joined, the closest first, until one region is left (Ward, 1963).

Shape legend
    n      leaves: patches or superpixels
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


class Borders(NamedTuple):
    """What lies between neighbours.

    Attributes:
        lengths: ``(e,)`` float64 length of the border of each pair.
        strengths: ``(e,)`` float64 mean strength of the edges along it, above 0.
    """

    lengths: np.ndarray
    strengths: np.ndarray


def ward_tree(
    points: np.ndarray,
    edges: np.ndarray,
    sizes: np.ndarray | None = None,
    borders: Borders | None = None,
    exponent: float = 1.0,
) -> Merges:
    """Join neighbours by Ward's criterion: the pair that adds least to the sum of squared distances to region means.

    Small regions are joined before large ones that are as far apart, so that one region does not swallow its
    neighbours patch by patch. Of equal pairs the one of the smaller numbers comes first. With borders, what a pair adds
    is multiplied by the mean strength along the border that the two regions share, to the power of ``exponent``;
    heights are then the roots of these products.

    Args:
        points: ``(n, C)`` finite features.
        edges: ``(2, e)`` pairs of neighbours, each once.
        sizes: ``(n,)`` how many points each leaf stands for; ``None`` for one each.
        borders: between the pairs; ``None`` for borders of equal strength.
        exponent: 0 or more; 0 ignores the strength.
    """
    n = len(points)
    means = np.concatenate([points.astype(np.float64), np.empty((max(n - 1, 0), points.shape[1]))])
    areas = np.concatenate([np.ones(n) if sizes is None else sizes, np.empty(max(n - 1, 0))])
    lengths, strengths = borders or Borders(*np.ones((2, edges.shape[1])))
    neighbours: list[dict[int, tuple[float, float]]] = [{} for _ in range(len(means))]  # length, sum of strengths
    for i, j, *border in zip(*edges.tolist(), lengths.tolist(), (lengths * strengths).tolist()):
        neighbours[i][j] = neighbours[j][i] = (border[0], border[1])
    costs = _ward(areas[edges[0]], areas[edges[1]], points[edges[0]].astype(np.float64) - points[edges[1]])
    heap = [
        (cost, min(pair), max(pair)) for cost, pair in zip((costs * strengths**exponent).tolist(), edges.T.tolist())
    ]
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
        around = neighbours[new] = _joined_borders(neighbours[i], neighbours[j], {i, j})
        others = sorted(around)
        added = _ward(areas[others], areas[new], means[others] - means[new])
        if borders is not None and exponent:
            length, total = np.array([around[other] for other in others]).reshape(-1, 2).T
            added *= (total / length) ** exponent
        for other, cost in zip(others, added.tolist()):
            neighbours[other].pop(i, None)
            neighbours[other].pop(j, None)
            neighbours[other][new] = around[other]
            heapq.heappush(heap, (cost, other, new))
    return Merges(np.array(children, dtype=np.int64).reshape(-1, 2), np.array(heights))


def _ward(first: np.ndarray, second: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Return twice what merges add to the sum of squares, of regions of two sizes and the difference of their means."""
    return np.asarray(2 * first * second / (first + second) * (differences**2).sum(1))


def _joined_borders(
    first: dict[int, tuple[float, float]], second: dict[int, tuple[float, float]], inside: set[int]
) -> dict[int, tuple[float, float]]:
    """Return the borders of two regions that become one; those between the two are inside it."""
    around = {other: border for other, border in first.items() if other not in inside}
    for other, (length, total) in second.items():
        if other not in inside:
            before = around.get(other, (0.0, 0.0))
            around[other] = (before[0] + length, before[1] + total)
    return around


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


def in_pixels(places: Spans, labels: np.ndarray) -> Spans:
    """Return the same with the pixels of the leaves in place of the leaves, and areas in pixels.

    Args:
        places: of n leaves.
        labels: ``(H, W)`` leaf of each pixel.
    """
    ranks = np.empty(len(places.order), dtype=np.int64)
    ranks[places.order] = np.arange(len(ranks))
    pixels = ranks[labels.ravel()]
    ends = np.concatenate([[0], np.cumsum(np.bincount(pixels, minlength=len(ranks)))])
    first = ends[places.first]
    return Spans(np.argsort(pixels, kind="stable"), first, ends[places.first + places.areas] - first)
