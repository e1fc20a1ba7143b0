"""Panoptic quality (Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4): segments found, and how well.

Shape legend
    H, W   height and width of an image in pixels
    p, t   segments that were found, and those of the ground truth
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Segment(NamedTuple):
    """A segment of an image.

    Attributes:
        category: its class.
        mask: ``(H, W)`` bool.
        is_crowd: a region of the ground truth with several objects of the class: what is found in it is not false.
    """

    category: Any
    mask: np.ndarray
    is_crowd: bool = False


@dataclass
class Quality:
    """Sums over segments, of one class or of several images of it.

    Attributes:
        iou: sum of the IoU of the matched pairs.
        matched: number of matched pairs (true positives).
        false: segments that were found and match none (false positives).
        missed: segments of the ground truth that were not found (false negatives).
    """

    iou: float = 0.0
    matched: int = 0
    false: int = 0
    missed: int = 0

    @property
    def is_defined(self) -> bool:
        """Whether there was a segment of the class, found or not."""
        return self.matched + self.false + self.missed > 0

    @property
    def sq(self) -> float:
        """Segmentation quality, the mean IoU of the matched pairs, in [0, 1]."""
        return self.iou / self.matched if self.matched else 0.0

    @property
    def rq(self) -> float:
        """Recognition quality, the F1 of the segments, in [0, 1]."""
        return self.matched / (self.matched + 0.5 * (self.false + self.missed)) if self.is_defined else 0.0

    @property
    def pq(self) -> float:
        """Panoptic quality, the product of both, in [0, 1]."""
        return self.sq * self.rq


class PanopticQuality:
    """Panoptic quality of many images, which are added one at a time.

    Attributes:
        of_class: sums over all segments, per class.
    """

    def __init__(self) -> None:
        self.of_class: dict[Any, Quality] = defaultdict(Quality)

    def means(self, chosen: Callable[[Any], bool] | None = None) -> tuple[float, float, float]:
        """Return PQ, SQ and RQ, means over the classes that occur, in [0, 1]; NaN where none does.

        Args:
            chosen: whether a class is among those that count; by default all are.
        """
        classes = [key for key in self.of_class if chosen is None or chosen(key)]
        there = [self.of_class[key] for key in classes if self.of_class[key].is_defined]
        if not there:
            return (float("nan"),) * 3
        pq, sq, rq = (float(np.mean(values)) for values in zip(*((one.pq, one.sq, one.rq) for one in there)))
        return pq, sq, rq

    def add(self, found: Sequence[Segment], known: Sequence[Segment], void: np.ndarray | None = None) -> None:
        """Add the segments of one image, see :func:`panoptic_quality`.

        Raises:
            ValueError: segments that were found overlap.
        """
        if found and np.sum([one.mask for one in found], axis=0).max() > 1:
            raise ValueError("segments that were found must not overlap")
        objects = [one for one in known if not one.is_crowd]
        taken: set[int] = set()
        for one in found:
            place, iou = _best(one, objects, taken, void)
            quality = self.of_class[one.category]
            if place >= 0:
                taken.add(place)
                quality.iou += iou
                quality.matched += 1
            else:
                quality.false += not _is_ignored(one, known, void)
        for place, other in enumerate(objects):
            self.of_class[other.category].missed += place not in taken


def panoptic_quality(
    segments_pred: Iterable[Sequence[Segment]],
    segments_true: Iterable[Sequence[Segment]],
    void: Iterable[np.ndarray | None] | None = None,
) -> PanopticQuality:
    """Compare segments that were found with those of the ground truth, image by image.

    Two segments of one class match with an IoU above .5; as segments that were found do not overlap, no segment of the
    truth matches two. Pixels without a label count for neither side, and a segment that matches none is not false where
    more than half of it has no label or lies in crowd regions of its class.

    Args:
        segments_pred: p of each image, which do not overlap.
        segments_true: t of each image.
        void: ``(H, W)`` bool of each image, its pixels without a label; ``None`` where there are none.

    Raises:
        ValueError: segments that were found overlap, or the numbers of images differ.
    """
    quality = PanopticQuality()
    found, known = list(segments_pred), list(segments_true)
    regions = [None] * len(found) if void is None else list(void)
    for one_found, one_known, region in zip(found, known, regions, strict=True):
        quality.add(one_found, one_known, region)
    return quality


def _best(one: Segment, objects: Sequence[Segment], taken: set[int], void: np.ndarray | None) -> tuple[int, float]:
    """Return the place of the object that a segment matches, -1 for none, and their IoU."""
    own = one.mask if void is None else one.mask & ~void
    best, best_iou = -1, 0.5
    for place, other in enumerate(objects):
        if other.category != one.category or place in taken:
            continue
        union = (own | other.mask).sum()
        iou = float((own & other.mask).sum() / union) if union else 0.0
        if iou > best_iou:
            best, best_iou = place, iou
    return best, best_iou


def _is_ignored(one: Segment, known: Sequence[Segment], void: np.ndarray | None) -> bool:
    """Whether more than half of a segment has no label or lies in crowd regions of its class."""
    ignored = np.zeros_like(one.mask) if void is None else void.copy()
    for other in known:
        if other.is_crowd and other.category == one.category:
            ignored |= other.mask
    return bool((one.mask & ignored).sum() > 0.5 * one.mask.sum())


def without_overlap(
    masks: Sequence[np.ndarray], scores: Sequence[float], least: float = 0.5
) -> list[np.ndarray | None]:
    """Return the pixels that each mask keeps where the one with the higher score is on top.

    This is how Panoptic FPN (Kirillov et al., CVPR 2019, section 4.1) makes segments of instances.

    Args:
        masks: ``(H, W)`` bool each.
        scores: of the masks; among equal ones the first is on top.
        least: share of a mask's pixels that must be left; a mask with less is left out.

    Returns:
        In the order of the masks; ``None`` for one that is left out.
    """
    kept: list[np.ndarray | None] = [None] * len(masks)
    covered: np.ndarray | None = None
    for place in sorted(range(len(masks)), key=lambda place: -scores[place]):
        own = masks[place] if covered is None else masks[place] & ~covered
        if own.any() and own.sum() >= least * masks[place].sum():
            kept[place] = own
            covered = own if covered is None else covered | own
    return kept
