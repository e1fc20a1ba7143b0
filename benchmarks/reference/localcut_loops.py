"""LocalCut at T thresholds written straight from its description: plain loops, a new graph for every threshold.

It shares no code with the package, whose results and times are compared with it.
"""

from __future__ import annotations

from collections import deque

import numpy as np


def localcut_loops(
    mask: np.ndarray, points: np.ndarray, source: tuple[int, int], thresholds: np.ndarray, k: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Cut one mask at every threshold, with the points outside it in the far background.

    A sink in the background cannot be reached, so that the minimum cut keeps everything connected to the source.

    Args:
        mask: ``(h, w)`` bool.
        points: ``(h, w, 3)`` of the scene.
        source: row and column of the source, within the mask.
        thresholds: on the length of an edge, ascending.
        k: neighbours of a point.

    Returns:
        The mask at the last threshold, and the mean of all cuts within it, at least .5; both ``(h, w)``.
    """
    places = [tuple(place) for place in np.argwhere(mask)]
    cloud = np.array([points[place] for place in places])
    start = places.index(tuple(source))
    total = np.zeros(mask.shape)
    cut = np.zeros_like(mask)
    for threshold in thresholds:
        neighbours: list[set[int]] = [set() for _ in places]
        for i in range(len(places)):
            distances = np.sqrt(((cloud - cloud[i]) ** 2).sum(1))
            distances[i] = np.inf
            for j in np.argsort(distances, kind="stable")[:k]:
                if distances[j] <= threshold:
                    neighbours[i].add(int(j))
                    neighbours[int(j)].add(i)
        reached, queue = {start}, deque([start])
        while queue:
            for j in neighbours[queue.popleft()] - reached:
                reached.add(j)
                queue.append(j)
        cut = np.zeros_like(mask)
        for i in reached:
            cut[places[i]] = True
        total += cut
    return cut, np.where(cut, np.maximum(total / len(thresholds), 0.5), 0)
