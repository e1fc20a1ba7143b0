"""What is known of records without making them, in columns.

Shape legend
    n   records
    m   annotations of all records
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unseg_d2.data.annotations.columns import CONFIDENCE, CROWD, MASK, OUTSIDE, SCORE
from unseg_d2.levels import is_within


@dataclass(frozen=True)
class Facts:
    """What is known of records without making them.

    Attributes:
        counts: ``(n,)`` int64, annotations of each record.
        flags: ``(m,)`` uint8 of the annotations, see `unseg_d2.data.annotations.columns`.
        sizes: ``(n, 2)`` int32, height and width in px; -1 where they are not known.
        done: ``(n,)`` bool, whether every object of the image has its mask.
        granularities: ``(m,)`` float32 of the annotations, 1 where none is stated.
        classes: lowest and highest class number, as far as it is known: no annotation is outside.
    """

    counts: np.ndarray
    flags: np.ndarray
    sizes: np.ndarray
    done: np.ndarray
    granularities: np.ndarray
    classes: tuple[int, int] = (0, 0)

    def within(self, interval: tuple[float, float]) -> Facts:
        """Return what is known of the records with the annotations of some granularities only, and crowd regions."""
        kept = is_within(self.granularities, interval) | (self.flags & CROWD > 0)
        owners = np.repeat(np.arange(len(self.counts)), self.counts)
        counts = np.bincount(owners[kept], minlength=len(self.counts))
        done = self.done & (counts == self.counts)
        return Facts(counts, self.flags[kept], self.sizes, done, self.granularities[kept], self.classes)


def flags_of(annotation: dict[str, Any]) -> int:
    """Return the flags of an annotation of a record, see `unseg_d2.data.annotations.columns`."""
    flags = (MASK if annotation.get("segmentation") else 0) | (CROWD if annotation.get("iscrowd") else 0)
    if annotation.get("confidence") is not None:
        flags |= CONFIDENCE
    score = annotation.get("score")
    if score is not None:
        flags |= SCORE if 0 <= score <= 1 else SCORE | OUTSIDE
    return flags
