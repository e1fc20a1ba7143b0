"""Which masks of consecutive frames are the same object: by overlap after a shift, and by the likeness of features.

A track expects its object where its last mask would be with the track's speed. Each frame's masks are given to the
tracks so that the sum of their similarities is largest; a mask that continues none begins one, and a track ends when
its object was away for too long. Nothing is learnt and no label is used.

Shape legend
    n   masks of a frame
    m   tracks that are alive
    C   feature channels
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from unseg_d2.tracks.placed import PlacedMask
from unseg_d2.tracks.settings import TrackSettings


@dataclass(frozen=True)
class FrameMasks:
    """The masks of a frame.

    Attributes:
        number: of the frame in its video; later frames have larger ones.
        masks: n of them.
        features: ``(n, C)`` of length 1, or 0 where a mask has none; ``None`` without features.
    """

    number: int
    masks: Sequence[PlacedMask]
    features: np.ndarray | None = None


class Links(NamedTuple):
    """What the masks of a frame belong to.

    Attributes:
        tracks: ``(n,)`` int64, from 1 on in the order in which tracks begin.
        agreements: ``(n,)``, overlap of each mask with the one before it in its track, both moved to one centre, in
            [0, 1]; NaN for the first of a track.
    """

    tracks: np.ndarray
    agreements: np.ndarray


@dataclass
class Track:
    """An object that is followed.

    Attributes:
        number: of the track.
        frame: of its last mask.
        mask: its last one.
        velocity: rows and columns per frame, ``(2,)``.
        features: ``(C,)`` mean of those of its masks, of length 1, or 0 without any; ``None`` without features.
    """

    number: int
    frame: int
    mask: PlacedMask
    velocity: np.ndarray | None = None
    features: np.ndarray | None = None

    def expected(self, frame: int) -> PlacedMask:
        """Return where its last mask would be in a later frame."""
        return self.mask if self.velocity is None else self.mask.moved(self.velocity * (frame - self.frame))

    def take(self, frame: int, mask: PlacedMask, features: np.ndarray | None, memory: float) -> None:
        """Add the mask of a later frame; ``memory`` is the share of speed and features that stays."""
        speed = (mask.centre - self.mask.centre) / (frame - self.frame)
        self.velocity = speed if self.velocity is None else memory * self.velocity + (1 - memory) * speed
        if features is not None and self.features is not None and features.any():
            mean = memory * self.features + (1 - memory) * features if self.features.any() else features
            self.features = mean / max(float(np.linalg.norm(mean)), 1e-12)
        self.frame, self.mask = frame, mask


def link(frames: Iterable[FrameMasks], settings: TrackSettings) -> Iterator[Links]:
    """Yield what the masks of each frame of one video belong to.

    Args:
        frames: in their order, either all with features or none.
        settings: see :class:`TrackSettings`.
    """
    alive: list[Track] = []
    count = 0
    for frame in frames:
        alive = [track for track in alive if frame.number - track.frame <= settings.max_gap + 1]
        numbers, agreements = np.zeros(len(frame.masks), np.int64), np.full(len(frame.masks), np.nan)
        for row, column in assign(similarities(alive, frame, settings)):
            track, mask = alive[row], frame.masks[column]
            numbers[column], agreements[column] = track.number, mask.aligned_iou(track.mask)
            track.take(frame.number, mask, _row(frame, column), settings.memory)
        for column in np.flatnonzero(numbers == 0).tolist():
            count += 1
            numbers[column] = count
            alive.append(Track(count, frame.number, frame.masks[column], features=_row(frame, column)))
        yield Links(numbers, agreements)


def similarities(tracks: Sequence[Track], frame: FrameMasks, settings: TrackSettings) -> np.ndarray:
    """Return how well each mask continues each track.

    The mean, weighted by ``settings.appearance``, of the cosine of the features and of the IoU of the masks: the larger
    one of that where the track was and of that where it should be. Where either has no features, the IoU alone.

    Args:
        tracks: m of them.
        frame: later than all of them.
        settings: see :class:`TrackSettings`.

    Returns:
        ``(m, n)`` in [0, 1]; 0 where the two cannot be the same, see ``min_similarity`` and ``reach``.
    """
    found = np.zeros((len(tracks), len(frame.masks)))
    for row, track in enumerate(tracks):
        expected = track.expected(frame.number)
        for column, mask in enumerate(frame.masks):
            far = min(float(np.linalg.norm(mask.centre - where.centre)) for where in (track.mask, expected))
            if far > settings.reach * track.mask.diagonal:
                continue
            value = max(mask.iou(track.mask), mask.iou(expected))
            features = _row(frame, column)
            if features is not None and track.features is not None and features.any() and track.features.any():
                cosine = max(0.0, float(features @ track.features))
                value = settings.appearance * cosine + (1 - settings.appearance) * value
            found[row, column] = value if value >= settings.min_similarity else 0.0
    return found


def assign(similarity: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of rows and columns, each at most once, whose sum is largest; 0 pairs nothing (Hungarian method)."""
    pairs = zip(*linear_sum_assignment(similarity, maximize=True)) if similarity.size else ()
    return [(int(row), int(column)) for row, column in pairs if similarity[row, column] > 0]


def _row(frame: FrameMasks, column: int) -> np.ndarray | None:
    return None if frame.features is None else frame.features[column]
