"""Which detections of a video's frames are the same object: ByteTrack (Zhang et al., ECCV 2022, arXiv:2110.06864).

The library's tracker numbers an object when it sees it again; here it has its number from its first frame on.

Shape legend
    n      detections of a frame
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from unseg_d2.detectors.prediction import Prediction
from unseg_d2.errors import UnsegError

LOWEST_SCORE = 0.1
"""Detections from this score on continue an object that is known already: the paper's lower threshold."""
INSTALL = (
    "'trackers' is not installed, which follows objects through a video; install it with: "
    "pip install 'unseg-d2[video]' && pip install --no-deps 'trackers>=2.6' (the second without what it asks for: an "
    "OpenCV with windows, which many servers cannot load)"
)


@dataclass
class _Fresh:
    """A detection whose object the library has not numbered yet."""

    box: np.ndarray
    track: int
    age: int = 0


def require_trackers() -> Any:
    """Return the class of the library's tracker.

    Raises:
        UnsegError: it is not installed; the message names the commands that install it.
    """
    try:
        from trackers import ByteTrackTracker
    except ImportError:
        raise UnsegError(INSTALL) from None
    return ByteTrackTracker


class Tracks:
    """Gives the detections of a video their identities, frame by frame.

    Args:
        rate: frames per second, on average.
        threshold: score from which a detection may begin an identity.

    Raises:
        UnsegError: the library ``trackers`` is not installed.
    """

    def __init__(self, rate: Fraction, threshold: float) -> None:
        self._tracker = require_trackers()(
            frame_rate=float(rate),
            track_activation_threshold=threshold,
            high_conf_det_threshold=threshold,
            minimum_consecutive_frames=1,
        )
        self._threshold = threshold
        self._numbers: dict[int, int] = {}  # of the library's objects
        self._fresh: list[_Fresh] = []
        self._last = 0

    def __call__(self, prediction: Prediction, time: Fraction) -> Prediction:
        """Return the detections that belong to an object, with ``tracks``: those from the threshold on, and weaker ones
        that continue an object.

        Args:
            prediction: of the next frame, with scores from :data:`LOWEST_SCORE` on.
            time: of the frame in seconds, later than the one before.
        """
        theirs = self._follow(prediction, time)
        kept = np.flatnonzero((theirs >= 0) | (prediction.scores >= self._threshold))
        prediction, theirs = prediction.chosen(kept), theirs[kept]
        known = np.array([number in self._numbers for number in theirs.tolist()], bool)
        self._claim(theirs, prediction.boxes, np.flatnonzero((theirs >= 0) & ~known))
        self._fresh = [fresh for fresh in self._fresh if fresh.age < 2]  # as long as the library waits for the second
        for fresh in self._fresh:
            fresh.age += 1
        tracks = np.zeros(len(prediction), np.int64)
        for place, number in enumerate(theirs.tolist()):
            if number < 0:
                self._fresh.append(_Fresh(prediction.boxes[place], self._next()))
            tracks[place] = self._fresh[-1].track if number < 0 else self._numbers[number]
        return replace(prediction, tracks=tracks)

    def _follow(self, prediction: Prediction, time: Fraction) -> np.ndarray:
        """Return the library's number of each detection, ``(n,)``; -1 where it has none."""
        import supervision

        places = np.arange(len(prediction))
        found = supervision.Detections(prediction.boxes, confidence=prediction.scores, data={"place": places})
        found = self._tracker.update(found, timestamp=float(time))
        numbers = np.full(len(prediction), -1, np.int64)
        if len(found):
            numbers[np.asarray(found.data["place"], np.int64)] = found.tracker_id
        return numbers

    def _claim(self, theirs: np.ndarray, boxes: np.ndarray, newborn: np.ndarray) -> None:
        """Give objects that the library has just numbered the identity of their first detection."""
        overlaps = np.array([[_iou(boxes[place], fresh.box) for fresh in self._fresh] for place in newborn])
        pairs = zip(*linear_sum_assignment(overlaps, maximize=True)) if overlaps.size else ()
        claimed = {int(row): int(column) for row, column in pairs if overlaps[row, column] > 0}
        for row, place in enumerate(newborn):
            track = self._fresh[claimed[row]].track if row in claimed else self._next()
            self._numbers[int(theirs[place])] = track
        self._fresh = [fresh for column, fresh in enumerate(self._fresh) if column not in claimed.values()]

    def _next(self) -> int:
        self._last += 1
        return self._last


def _iou(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two xyxy boxes."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    both = float(np.prod(sides.clip(min=0)))
    areas = float(np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]))
    return both / (areas - both) if areas > both else 0.0
