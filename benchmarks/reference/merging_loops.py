"""Greedy merging and Ward's criterion in plain loops: before each merge the best of all pairs of neighbours is found.

It shares no code with the package, whose results and times are compared with it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Regions = set[frozenset[int]]


def greedy_loops(points: np.ndarray, edges: np.ndarray, taus: tuple[float, ...]) -> list[Regions]:
    """Return the regions that are left when no two neighbours have a cosine of at least each threshold.

    Args:
        points: ``(n, C)`` float64 of length 1.
        edges: ``(2, e)`` neighbours.
        taus: falling.
    """

    def cosine(first: list[int], second: list[int]) -> float:
        one, other = points[first].sum(0), points[second].sum(0)
        return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

    groups, pairs, found = start(points, edges)
    for tau in taus:
        while pairs:
            value, best = best_pair(groups, pairs, cosine)
            if value < tau:
                break
            pairs = join(groups, pairs, best)
        found.append({frozenset(group) for group in groups.values()})
    return found


def ward_loops(points: np.ndarray, edges: np.ndarray) -> Regions:
    """Return every region of the tree that joins the pair which adds least to the sum of squares, again and again.

    Args:
        points: ``(n, C)``.
        edges: ``(2, e)`` neighbours.
    """

    def gain(first: list[int], second: list[int]) -> float:
        apart = points[first].mean(0) - points[second].mean(0)
        return -float(len(first) * len(second) / (len(first) + len(second)) * (apart @ apart))

    groups, pairs, _ = start(points, edges)
    found = set()
    while pairs:
        _, best = best_pair(groups, pairs, gain)
        pairs = join(groups, pairs, best)
        found.add(frozenset(groups[best[0]]))
    return found


def start(points: np.ndarray, edges: np.ndarray) -> tuple[dict[int, list[int]], set[tuple[int, int]], list[Regions]]:
    return {i: [i] for i in range(len(points))}, {(min(pair), max(pair)) for pair in edges.T.tolist()}, []


def best_pair(
    groups: dict[int, list[int]], pairs: set[tuple[int, int]], value: Callable[[list[int], list[int]], float]
) -> tuple[float, tuple[int, int]]:
    return max((value(groups[i], groups[j]), (i, j)) for i, j in pairs)


def join(groups: dict[int, list[int]], pairs: set[tuple[int, int]], best: tuple[int, int]) -> set[tuple[int, int]]:
    kept, gone = best
    groups[kept] += groups.pop(gone)
    renamed = {tuple(sorted(kept if node == gone else node for node in pair)) for pair in pairs}
    return {(i, j) for i, j in renamed if i != j}
