"""Stuff beside things: maps that name a class for each pixel become segments, where no thing lies on them.

Maps that were learnt without labels name clusters, which are matched with the classes of stuff of the ground truth, on
pixels counted over all images (U2Seg, Niu et al., CVPR 2024, section 4; Hungarian matching as in
`unseg_d2.evaluation.semantic`).

Shape legend
    H, W   height and width of an image in pixels
    k      pairs of a cluster and a class that pixels of an image have
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from unseg_d2.evaluation.matched_classes import match_groups
from unseg_d2.evaluation.panoptic_quality import PanopticQuality, Segment
from unseg_d2.evaluation.semantic import Matching

NONE = -1
"""Number of a pixel on which something else lies."""
VOID = -2
"""Number of a pixel without a label, where pixels are counted."""


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


class Pixels(NamedTuple):
    """How many pixels of an image have a cluster and a class of stuff: k pairs, each once.

    Attributes:
        clusters: ``(k,)`` int64, :data:`NONE` for none.
        labels: ``(k,)`` int64, :data:`NONE` below objects of the ground truth and :data:`VOID` without a label.
        numbers: ``(k,)`` int64, above 0.
    """

    clusters: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """Yield cluster, class and number of pixels."""
        return zip(self.clusters.tolist(), self.labels.tolist(), self.numbers.tolist())


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


def count_pixels(regions: Regions) -> Pixels:
    """Count the pixels of an image by what was found there and what is there: all that stuff is compared by."""
    labels = np.where(regions.void, VOID, np.maximum(regions.known, NONE)).astype(np.int64) - VOID
    clusters = np.maximum(regions.found, NONE).astype(np.int64) - NONE
    width = int(labels.max(initial=0)) + 1
    keys, numbers = np.unique(clusters * width + labels, return_counts=True)
    return Pixels(keys // width + NONE, keys % width + VOID, numbers)


def classes_of_clusters(images: Iterable[Pixels], matching: Matching) -> dict[int, int] | None:
    """Return the class of stuff of each cluster that has one.

    Args:
        images: the counts of all of them.
        matching: ``hungarian`` gives each class one cluster at most, ``majority`` each cluster the class that most of
            its pixels on stuff have; with ``none`` clusters are classes, and the result is ``None``.
    """
    if matching == "none":
        return None
    pixels = Counter[tuple[int, int]]()
    for one in images:
        for cluster, label, number in one.rows():
            if cluster >= 0 and label >= 0:
                pixels[cluster, label] += number
    rows, columns = (sorted({pair[place] for pair in pixels}) for place in (0, 1))
    counts = np.zeros((len(rows), len(columns)), np.int64)
    for (cluster, label), number in pixels.items():
        counts[rows.index(cluster), columns.index(label)] = number
    assigned = match_groups(counts, matching)
    return {cluster: columns[place] for cluster, place in zip(rows, assigned.tolist()) if place >= 0}


def add_stuff(
    quality: PanopticQuality, pixels: Pixels, class_of: Mapping[int, int] | None = None, least: int = 1
) -> None:
    """Add the stuff of one image, one segment for each class; as `PanopticQuality.add` does, but from counts alone.

    Args:
        quality: what it is added to.
        pixels: of the image.
        class_of: class of each cluster; clusters without one are no segment. Without any, clusters are classes.
        least: fewest pixels of a segment that was found.
    """
    found, known, both = Counter[int](), Counter[int](), Counter[tuple[int, int]]()
    for cluster, label, number in pixels.rows():
        named = cluster if class_of is None else class_of.get(cluster, NONE)
        found[named] += number
        known[label] += number
        both[named, label] += number
    matched = set()
    for label, area in found.items():
        if label < 0 or area < least:
            continue
        without = both[label, VOID]
        shared, of_class = both[label, label], quality.of_class[Stuff(label)]
        iou = shared / (area - without + known[label] - shared) if shared else 0.0
        if iou > 0.5:
            of_class.iou += iou
            of_class.matched += 1
            matched.add(label)
        else:
            of_class.false += without <= 0.5 * area
    for label in known:
        if label >= 0:
            quality.of_class[Stuff(label)].missed += label not in matched


def _covered(segments: Sequence[Segment], shape: tuple[int, ...]) -> np.ndarray:
    covered = np.zeros(shape, bool)
    for segment in segments:
        covered |= segment.mask
    return covered
