"""Minimum cuts around every patch of a grid, compiled by Numba; imported only where it is installed.

Push-relabel (Goldberg and Tarjan 1988) with a first-in-first-out queue and labels that are computed anew now and then.
It finds the side from which the terminal that flow is pushed to can still be reached, and the smallest one. As the
smallest side of the seed is wanted, flow is pushed from the background to the seed; links have no direction.

Shape legend
    r, c   rows and columns of the grid, n = r c patches
    N      patches with a border around them, (r + 2)(c + 2)
"""

from __future__ import annotations

import numpy as np
from numba import int32, int64, njit

UNLIMITED = 2**60  # what the seed takes in
FAR = 2**30  # label of what takes no part: the background and the border
MOST = 2**31 - 1  # of an int32
compiled = njit(nogil=True, cache=True)


@compiled
def foregrounds(links: np.ndarray, distances: np.ndarray, opposite: np.ndarray) -> np.ndarray:
    """Return ``(n, n)`` bool, see ``seed_cuts.seed_foregrounds``.

    Args:
        links: ``(8, r + 2, c + 2)`` int32, of each patch to its neighbours in row-major order, 0 in the border.
        distances: ``(n, n)`` int32.
        opposite: ``(n, n)`` bool.
    """
    rows, width = links.shape[1] - 2, links.shape[2]
    columns, size = width - 2, links.shape[1] * links.shape[2]
    n = rows * columns
    offsets = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    places = np.empty(n, np.int64)  # of the patches among those with a border
    for patch in range(n):
        places[patch] = (patch // columns + 1) * width + patch % columns + 1
    full = links.copy().reshape(8, size)
    free, pulls, excess = np.empty((8, size), np.int32), np.zeros(size, np.int64), np.zeros(size, np.int64)
    labels, queue, queued = np.empty(size, np.int64), np.empty(size, np.int64), np.zeros(size, np.bool_)
    nearest = np.empty(n, np.int32)
    found = np.zeros((n, n), np.bool_)
    for seed in range(n):
        if not nearest_opposite(distances, opposite[seed], nearest):
            continue
        free[:] = full
        labels[:] = FAR
        start(nearest, distances[seed], places, pulls, labels)
        fill(nearest, distances[seed], places, offsets, full, labels, excess)
        push_all(offsets, free, pulls, excess, labels, queue, queued)
        for patch in range(n):
            found[seed, patch] = labels[places[patch]] < size
    return found


@compiled
def nearest_opposite(distances: np.ndarray, opposite: np.ndarray, nearest: np.ndarray) -> bool:
    """Write the least distance of each patch to those that are opposite ``(n,)``; return whether there are any."""
    n = len(nearest)
    nearest[:] = MOST
    some = False
    for other in range(n):
        if opposite[other]:
            some = True
            row = distances[other]
            for patch in range(n):
                nearest[patch] = min(nearest[patch], row[patch])
    return some


@compiled
def start(nearest: np.ndarray, away: np.ndarray, places: np.ndarray, pulls: np.ndarray, labels: np.ndarray) -> None:
    """Set what each patch can hand to the seed, and mark those that take part by a label of 0."""
    for patch in range(len(places)):
        place = places[patch]
        pulls[place] = 0
        if away[patch] == 0:
            pulls[place], labels[place] = UNLIMITED, 0
        elif nearest[patch] > 0:
            pulls[place], labels[place] = max(int64(0), int64(nearest[patch]) - int64(away[patch])), 0


@compiled
def fill(
    nearest: np.ndarray,
    away: np.ndarray,
    places: np.ndarray,
    offsets: np.ndarray,
    full: np.ndarray,
    labels: np.ndarray,
    excess: np.ndarray,
) -> None:
    """Set what each patch has from the background: by its own link, and by those to patches of the background."""
    for patch in range(len(places)):
        place = places[patch]
        excess[place] = 0
        if labels[place] == FAR:
            continue
        if away[patch] > 0:
            excess[place] = max(int64(0), int64(away[patch]) - int64(nearest[patch]))
        for k in range(8):
            if labels[place + offsets[k]] == FAR:
                excess[place] += full[k, place]  # 0 towards the border


@compiled
def push_all(
    offsets: np.ndarray,
    free: np.ndarray,
    pulls: np.ndarray,
    excess: np.ndarray,
    labels: np.ndarray,
    queue: np.ndarray,
    queued: np.ndarray,
) -> None:
    """Push all that the seed can be given; the labels then say what still reaches it: those below N."""
    size = len(labels)
    relabel_all(offsets, free, pulls, labels, queue)
    head, waiting = gather(excess, labels, queue, queued)
    relabelled = 0
    while waiting:
        place = queue[head]
        head = head + 1 if head + 1 < size else 0
        waiting -= 1
        queued[place] = False
        while excess[place] > 0 and labels[place] < size:
            if labels[place] == 1 and pulls[place] > 0:
                amount = min(excess[place], pulls[place])
                excess[place] -= amount
                pulls[place] -= amount
            for k in range(8):
                other = place + offsets[k]
                if excess[place] > 0 and free[k, place] > 0 and labels[other] == labels[place] - 1:
                    amount = min(excess[place], int64(free[k, place]))
                    free[k, place] -= int32(amount)
                    free[7 - k, other] += int32(amount)
                    excess[place] -= amount
                    excess[other] += amount
                    if not queued[other]:
                        tail = head + waiting
                        queue[tail if tail < size else tail - size] = other
                        queued[other] = True
                        waiting += 1
            if excess[place] > 0:
                labels[place] = next_label(place, offsets, free, pulls, labels)
                relabelled += 1
        if relabelled > size:
            relabel_all(offsets, free, pulls, labels, queue)
            head, waiting = gather(excess, labels, queue, queued)
            relabelled = 0
    relabel_all(offsets, free, pulls, labels, queue)


@compiled
def next_label(place: int, offsets: np.ndarray, free: np.ndarray, pulls: np.ndarray, labels: np.ndarray) -> int:
    """Return one more than the least label that a patch can push to, N at most."""
    least = int64(len(labels))
    if pulls[place] > 0:
        return int64(1)
    for k in range(8):
        if free[k, place] > 0:
            least = min(least, labels[place + offsets[k]] + 1)
    return least


@compiled
def gather(excess: np.ndarray, labels: np.ndarray, queue: np.ndarray, queued: np.ndarray) -> tuple[int, int]:
    """Queue the patches that have something to push and can; return where the queue begins and its length."""
    size, count = len(labels), 0
    for place in range(size):
        queued[place] = excess[place] > 0 and labels[place] < size
        if queued[place]:
            queue[count] = place
            count += 1
    return 0, count


@compiled
def relabel_all(
    offsets: np.ndarray, free: np.ndarray, pulls: np.ndarray, labels: np.ndarray, queue: np.ndarray
) -> None:
    """Label each patch that takes part by the length of its shortest path to the seed, N where there is none."""
    size, count = len(labels), 0
    for place in range(size):
        if labels[place] == FAR:
            continue
        labels[place] = size
        if pulls[place] > 0:
            labels[place] = 1
            queue[count] = place
            count += 1
    first = 0
    while first < count:
        place = queue[first]
        first += 1
        for k in range(8):
            other = place + offsets[k]
            if labels[other] == size and free[7 - k, other] > 0:
                labels[other] = labels[place] + 1
                queue[count] = other
                count += 1
