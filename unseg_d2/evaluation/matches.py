"""What COCO's average precision needs of each result once it is matched, and nothing else: 26 bytes of it.

Shape legend
    d   results
    A   ranges of areas: all, small, medium, large
    T   IoU thresholds
    R   recalls at which the precision is read
    K   classes
    M   limits on the results per image
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

NUM_AREAS = 4
RECALLS = np.linspace(0, 1, 101)
SMALLEST = np.spacing(1)


class ImageMatches(NamedTuple):
    """The results of one class in one image against the objects of one range of areas.

    Attributes:
        image: position of the image.
        label: number of the class, from 1 on.
        area: position of the range of areas.
        scores: ``(d,)``, descending.
        matched: ``(T, d)`` bool, whether the result has an object.
        ignored: ``(T, d)`` bool, whether it counts neither as right nor as false.
        num_objects: objects of this range that are to be found.
    """

    image: int
    label: int
    area: int
    scores: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    num_objects: int


class Matches:
    """Collects matches image by image, and computes precision and recall of them all.

    Args:
        limits: M, ascending.
        num_thresholds: T.
    """

    def __init__(self, limits: Sequence[int], num_thresholds: int) -> None:
        self.limits, self.num_thresholds = list(limits), num_thresholds
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._objects: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(NUM_AREAS, np.int64))

    def add(self, matches: Iterable[ImageMatches]) -> None:
        """Take some images in, all ranges of areas of each; they come after the images so far."""
        groups: dict[tuple[int, int], list[ImageMatches]] = defaultdict(list)
        for one in matches:
            self._objects[one.label][one.area] += one.num_objects
            if len(one.scores):
                groups[one.image, one.label].append(one)
        rows = []
        for (_, label), areas in sorted(groups.items()):
            areas.sort(key=lambda one: one.area)
            matched, counted = (np.stack(flags) for flags in zip(*((a.matched, ~a.ignored) for a in areas)))
            count = len(areas[0].scores)
            right, false = (flags.reshape(-1, count).T for flags in (matched & counted, ~matched & counted))
            packed = (np.packbits(flags, axis=1) for flags in (right, false))
            rows.append((np.full(count, label, np.int32), np.arange(count, dtype=np.int32), areas[0].scores, *packed))
        if rows:
            self._parts.append(tuple(np.concatenate(column) for column in zip(*rows)))

    def curves(self, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return precision and recall as COCO's ``accumulate`` does, -1 where there is no object.

        Args:
            num_classes: K.

        Returns:
            Precision ``(T, R, K, A, 1)`` of the last limit, and recall ``(T, K, A, M)``.
        """
        shape = (self.num_thresholds, num_classes, NUM_AREAS)
        precision = np.full((shape[0], len(RECALLS), *shape[1:], 1), -1.0)
        recall = np.full((*shape, len(self.limits)), -1.0)
        labels, ranks, scores, right, false = self._columns()
        # The order of COCO: by score; equal ones in the order of the images, and of their results.
        order = np.lexsort((-scores, labels))
        for label, objects in self._objects.items():
            chosen = order[slice(*np.searchsorted(labels, [label, label + 1], sorter=order))]
            rank = ranks[chosen]
            for area in np.flatnonzero(objects):
                for threshold in range(self.num_thresholds):
                    bit = area * self.num_thresholds + threshold
                    hits, misses = _bit(right, bit)[chosen], _bit(false, bit)[chosen]
                    place = (threshold, label - 1, area)
                    recall[place] = [hits[rank < most].sum() / objects[area] for most in self.limits]
                    precision[threshold, :, label - 1, area, 0] = precision_at_recalls(hits, misses, objects[area])
        return precision, recall

    def _columns(self) -> tuple[np.ndarray, ...]:
        """Return label, rank in the image, score and the packed flags of each result, and forget the parts."""
        parts, self._parts = self._parts, []
        if parts:
            return tuple(np.concatenate(column) for column in zip(*parts))
        flags = np.zeros((0, -(-NUM_AREAS * self.num_thresholds // 8)), np.uint8)
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0), flags, flags


def precision_at_recalls(hits: np.ndarray, misses: np.ndarray, num_objects: int) -> np.ndarray:
    """Return the interpolated precision at the recalls 0, .01, ..., 1.

    Args:
        hits: ``(d,)`` bool, which results are right, best first.
        misses: ``(d,)`` bool, which are false; those that are neither do not count.
        num_objects: objects that are to be found.

    Returns:
        ``(R,)``: the best precision of any prefix with at least that recall; 0 where none has it.
    """
    # The precision is best at results that are right, and the recall grows there: nothing else need be kept.
    false = np.cumsum(misses, dtype=np.int32)[hits]
    right = np.arange(1, len(false) + 1)
    envelope = np.maximum.accumulate((right / (right + false + SMALLEST))[::-1])[::-1]
    places = np.searchsorted(right / num_objects, RECALLS, side="left")
    found = np.zeros(len(RECALLS))
    found[places < len(envelope)] = envelope[places[places < len(envelope)]]
    return found


def _bit(packed: np.ndarray, position: int) -> np.ndarray:
    """Return one bit of each row ``(d, bytes)`` as bool."""
    flags: np.ndarray = (packed[:, position // 8] >> (7 - position % 8)) & 1 == 1
    return flags
