"""Which masks are in which group: a few numbers of each mask, whatever their number.

Shape legend
    m   masks, in the order of the images
    K   groups
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unseg_d2.groups.pooled import PooledFolder
from unseg_d2.groups.prototypes import NONE, Prototypes


@dataclass(frozen=True)
class Members:
    """The group of each mask.

    Attributes:
        groups: ``(m,)`` int64 from 0 on, -1 for none.
        confidence: ``(m,)`` float32 in [0, 1], 0 without a group.
        known: ``(m,)`` bool, whether a mask has features.
        images: ``(m,)`` int64, position of the image.
        places: ``(m,)`` int64, place of the mask among those of its image.
        per_image: number of masks of each image.
        failures: position and reason of each image that cannot be used.
    """

    groups: np.ndarray
    confidence: np.ndarray
    known: np.ndarray
    images: np.ndarray
    places: np.ndarray
    per_image: list[int]
    failures: list[tuple[int, str]]

    @property
    def far(self) -> int:
        """Number of masks that are too far from every group."""
        return int((self.known & (self.groups == NONE)).sum())

    @property
    def unread(self) -> int:
        """Number of masks without features: their image cannot be used, or they have no pixels."""
        return int((~self.known).sum())

    def sizes(self, number: int) -> np.ndarray:
        """Return the number of masks of each of K groups, ``(K,)``."""
        return np.bincount(self.groups[self.groups != NONE], minlength=number)

    def mean_confidence(self, number: int) -> np.ndarray:
        """Return the mean confidence of the masks of each of K groups, ``(K,)``; NaN for one without masks."""
        inside = self.groups != NONE
        sums = np.bincount(self.groups[inside], weights=self.confidence[inside], minlength=number)
        with np.errstate(invalid="ignore"):
            mean: np.ndarray = sums / self.sizes(number)
        return mean


def members_of(pooled: PooledFolder, prototypes: Prototypes, reach: float | None) -> Members:
    """Find the group of each mask.

    Args:
        pooled: features of the masks.
        prototypes: of the groups.
        reach: see :meth:`~unseg_d2.groups.prototypes.Prototypes.assign`.
    """
    groups, confidence, known = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)], [np.zeros(0, bool)]
    counts: list[int] = []
    failures: list[tuple[int, str]] = []
    for positions, part in zip(pooled.positions, pooled.parts()):
        assigned = prototypes.assign(part.features, reach)
        groups.append(assigned.groups)
        confidence.append(assigned.confidence)
        known.append(part.known)
        counts += part.counts
        failures += [(positions[place], reason) for place, reason in sorted(part.failures.items())]
    images = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum([0, *counts])[:-1]
    places = np.arange(len(images)) - np.repeat(first, counts)
    joined = (np.concatenate(groups), np.concatenate(confidence), np.concatenate(known))
    return Members(*joined, images, places, counts, failures)
