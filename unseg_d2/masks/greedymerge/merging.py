"""The two most similar neighbours become one region, again and again.

Shape legend
    n      nodes: patches
    C      feature channels
    e      pairs of neighbours
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from unseg_d2.graph.regions import contract
from unseg_d2.masks.hierarchy import Layer, contrast


def greedy_layers(unit: np.ndarray, edges: np.ndarray, taus: Sequence[float]) -> list[Layer]:
    """Return the regions that are left at each threshold.

    Args:
        unit: ``(n, C)`` float64 features of length 1, or 0.
        edges: ``(2, e)`` neighbours.
        taus: falling.
    """
    merging = _Merging(unit, edges)
    layers = []
    for tau in taus:
        merging.until(tau)
        layers.append(merging.layer(edges))
    return layers


class _Merging:
    """The regions so far, each under the number of its first patch, and a heap of their pairs, the most similar first.

    A pair whose regions have changed since it was pushed is passed over.
    """

    def __init__(self, unit: np.ndarray, edges: np.ndarray) -> None:
        self.sums, self.lengths = unit.copy(), np.linalg.norm(unit, axis=1)
        self.owner = np.arange(len(unit))
        self.members = [[patch] for patch in range(len(unit))]
        self.neighbours: list[set[int]] = [set() for _ in unit]
        for i, j in edges.T.tolist():
            self.neighbours[i].add(j)
            self.neighbours[j].add(i)
        self.version = [0] * len(unit)
        cosines = (unit[edges[0]] * unit[edges[1]]).sum(1)
        self.heap = [(-cosine, i, j, 0, 0) for cosine, i, j in zip(cosines.tolist(), *edges.tolist())]
        heapq.heapify(self.heap)

    def until(self, tau: float) -> None:
        """Merge while a pair has a cosine of at least tau."""
        while self.heap and -self.heap[0][0] >= tau:
            _, i, j, of_i, of_j = heapq.heappop(self.heap)
            if (self.version[i], self.version[j]) == (of_i, of_j):
                self._merge(i, j)

    def layer(self, edges: np.ndarray) -> Layer:
        """Return the regions as they are."""
        roots, labels, areas = np.unique(self.owner, return_inverse=True, return_counts=True)
        between, _ = contract(edges, labels, len(roots))
        first, second = roots[between]
        return Layer(labels, areas, contrast(between, len(roots), self._cosines(first, second)))

    def _merge(self, i: int, j: int) -> None:
        """Add region j, which has the larger number, to region i."""
        self.owner[self.members[j]] = i
        self.members[i] += self.members[j]
        self.sums[i] += self.sums[j]
        self.lengths[i] = np.linalg.norm(self.sums[i])
        self.version[i] += 1
        self.version[j] = -1
        around = (self.neighbours[i] | self.neighbours[j]) - {i, j}
        for other in self.neighbours[j]:
            self.neighbours[other].discard(j)
        for other in around:
            self.neighbours[other].add(i)
        self.neighbours[i], self.neighbours[j] = around, set()
        others = sorted(around)
        for other, cosine in zip(others, self._cosines(np.full(len(others), i), np.array(others, dtype=int)).tolist()):
            low, high = min(i, other), max(i, other)
            heapq.heappush(self.heap, (-cosine, low, high, self.version[low], self.version[high]))

    def _cosines(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        lengths = self.lengths[first] * self.lengths[second]
        products = (self.sums[first] * self.sums[second]).sum(1)
        return np.divide(products, lengths, out=np.zeros(len(products)), where=lengths > 0)
