"""Stuff beside things: maps that name a class for each pixel become segments, where no thing lies on them.

Maps that were learnt without labels name clusters, which are matched with the classes of stuff of the ground truth, on
pixels counted over all images (U2Seg, Niu et al., CVPR 2024, section 4; Hungarian matching as in
`unseg_d2.evaluation.semantic`).

Shape legend
    H, W   height and width of an image in pixels
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from unseg_d2.evaluation.matched_classes import match_groups
from unseg_d2.evaluation.panoptic_quality import Segment
from unseg_d2.evaluation.semantic import Matching

NONE = -1
"""Number of a pixel on which something else lies."""


class StuffMaps(Protocol):
    """Where the maps of images are, those that were found and those of the ground truth."""

    def found(self, image: Mapping[str, Any]) -> np.ndarray:
        """Return the cluster of each pixel of an image, ``(H, W)`` integers, below 0 for no answer.

        Args:
            image: of the ground truth: ``id``, ``file_name``, ``height``, ``width``.

        Raises:
            UnsegError: there is no map of the image, it cannot be read, or it has another size.
        """
        ...

    def known(self, image: Mapping[str, Any]) -> np.ndarray:
        """Return the class of stuff of each pixel, likewise; below 0 where there is no stuff, or no label."""
        ...


class Stuff(NamedTuple):
    """A class of stuff, which is none of things, even if one has the same number."""

    number: int


class Regions(NamedTuple):
    """The maps of one image, with what lies on top of them.

    Attributes:
        found: ``(H, W)`` cluster of each pixel, :data:`NONE` below things that were found.
        known: ``(H, W)`` class of stuff, :data:`NONE` below objects of the ground truth.
        void: ``(H, W)`` bool, pixels that are neither stuff nor in an object or crowd region: they have no label.
    """

    found: np.ndarray
    known: np.ndarray
    void: np.ndarray


def regions_of(
    found: np.ndarray,
    known: np.ndarray,
    things: Sequence[Segment],
    objects: Sequence[Segment],
    classes: Sequence[int] = (),
) -> Regions:
    """Put things on top of the stuff of an image, on both sides.

    Args:
        found: ``(H, W)`` cluster of each pixel, below 0 for no answer.
        known: ``(H, W)`` class of each pixel of the ground truth, likewise.
        things: that were found.
        objects: of the ground truth, crowd regions included.
        classes: those of ``known`` that are stuff; of none, all are.
    """
    covered = _covered(objects, known.shape)
    is_stuff = known >= 0 if not classes else np.isin(known, np.asarray(classes))
    left = np.where(is_stuff & ~covered, known, NONE)
    return Regions(np.where(_covered(things, found.shape), NONE, found), left, (left == NONE) & ~covered)


def count_pixels(regions: Regions) -> Counter[tuple[int, int]]:
    """Return how many pixels of an image each cluster has in each class of stuff, by cluster and class."""
    both = (regions.found >= 0) & (regions.known >= 0)
    if not both.any():
        return Counter()
    pairs = np.stack([regions.found[both], regions.known[both]])
    names, numbers = np.unique(pairs, axis=1, return_counts=True)
    clusters, classes = names.tolist()
    return Counter({(cluster, label): n for cluster, label, n in zip(clusters, classes, numbers.tolist())})


def classes_of_clusters(pixels: Mapping[tuple[int, int], int], matching: Matching) -> dict[int, int] | None:
    """Return the class of stuff of each cluster that has one.

    Args:
        pixels: see :func:`count_pixels`, summed over all images.
        matching: ``hungarian`` gives each class one cluster at most, ``majority`` each cluster the class that most of
            its pixels on stuff have; with ``none`` clusters are classes, and the result is ``None``.
    """
    if matching == "none":
        return None
    rows, columns = (sorted({pair[place] for pair in pixels}) for place in (0, 1))
    counts = np.zeros((len(rows), len(columns)), np.int64)
    for (cluster, label), number in pixels.items():
        counts[rows.index(cluster), columns.index(label)] = number
    assigned = match_groups(counts, matching)
    return {cluster: columns[place] for cluster, place in zip(rows, assigned.tolist()) if place >= 0}


def stuff_segments(numbers: np.ndarray, class_of: Mapping[int, int] | None = None, least: int = 1) -> list[Segment]:
    """Return the stuff of one map as segments, one for each class.

    Args:
        numbers: ``(H, W)`` integers, below 0 for no stuff.
        class_of: class of each number; numbers without one are no segment. Without any, the numbers are classes.
        least: fewest pixels of a segment.
    """
    there = [number for number in np.unique(numbers).tolist() if number >= 0]
    named = {number: number for number in there} if class_of is None else class_of
    members: dict[int, list[int]] = {}
    for number in there:
        if number in named:
            members.setdefault(named[number], []).append(number)
    masks = {label: np.isin(numbers, of_class) for label, of_class in members.items()}
    return [Segment(Stuff(label), mask) for label, mask in masks.items() if mask.sum() >= least]


def _covered(segments: Sequence[Segment], shape: tuple[int, ...]) -> np.ndarray:
    covered = np.zeros(shape, bool)
    for segment in segments:
        covered |= segment.mask
    return covered
