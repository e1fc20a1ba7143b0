"""How often what follows objects through a video takes one for another: identity switches of CLEAR MOT.

Shape legend
    g   objects of a frame
    r   results of it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment


class FrameOverlaps(NamedTuple):
    """The objects and results of one frame.

    Attributes:
        objects: identity of each of the g objects, no two the same.
        tracks: identity of each of the r results, no two the same.
        ious: ``(g, r)`` in [0, 1].
    """

    objects: Sequence[Any]
    tracks: Sequence[Any]
    ious: np.ndarray


def identity_switches(frames: Iterable[FrameOverlaps], min_iou: float) -> int:
    """Count how often an object is matched with another track than the last time.

    In each frame an object stays with its last track where the two still overlap enough; the others are assigned so
    that the sum of their IoUs is largest. An object that is not matched keeps its last track in mind.

    Args:
        frames: of one video, in order.
        min_iou: IoU from which an object and a result can match.

    Source: Bernardin and Stiefelhagen, Evaluating Multiple Object Tracking Performance, 2008, section 2.1.
    """
    last: dict[Any, Any] = {}
    switches = 0
    for objects, tracks, ious in frames:
        places = {track: place for place, track in enumerate(tracks)}
        can = np.array(ious >= min_iou, bool).reshape(len(objects), len(tracks))
        rows, columns = set(range(len(objects))), set(range(len(tracks)))
        for row, known in enumerate(objects):
            column = places.get(last[known]) if known in last else None
            if column in columns and can[row, column]:
                rows.remove(row)
                columns.remove(column)
        left, free = sorted(rows), sorted(columns)
        gain = np.where(can, ious, 0.0)[np.ix_(left, free)]
        for i, j in zip(*linear_sum_assignment(gain, maximize=True)):
            row, column = left[i], free[j]
            if can[row, column]:
                switches += objects[row] in last and last[objects[row]] != tracks[column]
                last[objects[row]] = tracks[column]
    return switches
