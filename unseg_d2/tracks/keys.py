"""The key masks of a track: those that are most likely right.

The criterion is our own. S2D (Sick et al., arXiv:2512.14440) trains on key masks too, but finds them in another way.
A mask is reliable where its own score is high and its shape is that of the masks before and after it: single frames in
which a mask loses a part or swallows a neighbour agree with neither.

Shape legend
    k   masks of a track
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def reliability(scores: np.ndarray, agreements: np.ndarray) -> np.ndarray:
    """Return the score of each mask times the mean of its agreements with its neighbours in the track.

    Args:
        scores: ``(k,)`` in [0, 1].
        agreements: ``(k,)``, overlap with the mask before, see `link.Links`; that of the first is NaN.

    Returns:
        ``(k,)`` in [0, 1]; of a single mask half of its score, as nothing confirms it.

    >>> reliability(np.array([1.0, 0.5, 1.0]), np.array([np.nan, 0.8, 0.4])).round(2).tolist()
    [0.8, 0.3, 0.4]
    """
    if len(scores) == 1:
        return scores / 2
    around = np.stack([agreements, np.append(agreements[1:], np.nan)])
    return scores * np.nanmean(around, axis=0)


def key_masks(reliable: np.ndarray, frames: Sequence[int], count: int, distance: int) -> list[int]:
    """Choose the most reliable masks of a track, no two of them close in time.

    Args:
        reliable: ``(k,)``, see :func:`reliability`; of equal ones the first is taken.
        frames: numbers of the frames of the masks.
        count: key masks at most.
        distance: frames between two of them at least.

    Returns:
        Their places in the track, ascending.

    >>> key_masks(np.array([0.9, 0.8, 0.1, 0.7]), [0, 1, 2, 3], count=2, distance=2)
    [0, 3]
    """
    chosen: list[int] = []
    for place in np.argsort(-reliable, kind="stable").tolist():
        if len(chosen) == count:
            break
        if all(abs(frames[place] - frames[other]) >= distance for other in chosen):
            chosen.append(place)
    return sorted(chosen)
