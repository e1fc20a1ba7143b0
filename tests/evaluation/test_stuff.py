"""Maps of stuff by hand: what lies on top, which cluster is which class, and what has no label."""

from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.evaluation.panoptic_quality import PanopticQuality, Segment
from unseg_d2.evaluation.stuff import (
    Pixels,
    Regions,
    Stuff,
    add_stuff,
    classes_of_clusters,
    count_pixels,
    regions_of,
)

FOUND = np.array([[5, 5, 5, 6], [5, 6, 6, -1]])
KNOWN = np.array([[1, 1, 2, 2], [1, 2, -1, 2]])


def one(row: int, column: int, category: int = 7) -> Segment:
    mask = np.zeros((2, 4), bool)
    mask[row, column] = True
    return Segment(category, mask)


def rows(regions: Regions) -> dict[tuple[int, int], int]:
    return {(cluster, label): number for cluster, label, number in count_pixels(regions).rows()}


def pixels_of(counts: dict[tuple[int, int], int]) -> Pixels:
    clusters, labels = np.array(list(counts)).T
    return Pixels(clusters, labels, np.array(list(counts.values())))


def test_things_lie_on_top_on_both_sides() -> None:
    regions = regions_of(FOUND, KNOWN, [one(0, 0)], [one(0, 2), one(1, 0)._replace(is_crowd=True)])
    assert regions.found.tolist() == [[-1, 5, 5, 6], [5, 6, 6, -1]]
    assert regions.known.tolist() == [[1, 1, -1, 2], [-1, 2, -1, 2]]
    assert np.argwhere(regions.void).tolist() == [[1, 2]]
    assert rows(regions) == {(-1, 1): 1, (5, 1): 1, (5, -1): 2, (6, 2): 2, (6, -2): 1, (-1, 2): 1}


def test_classes_that_are_no_stuff_have_no_label() -> None:
    regions = regions_of(FOUND, KNOWN, [], [], classes=[2])
    assert regions.known.tolist() == [[-1, -1, 2, 2], [-1, 2, -1, 2]]
    assert regions.void.sum() == 4
    assert rows(regions_of(FOUND, KNOWN, [], [], classes=[9])) == {(5, -2): 4, (6, -2): 3, (-1, -2): 1}


def test_clusters_are_matched_on_the_pixels_of_all_images() -> None:
    first = {(5, 1): 21, (5, 2): 10, (6, 1): 20, (-1, 2): 70, (5, -1): 80, (6, -2): 90}
    images = [pixels_of(first), pixels_of({(5, 1): 9, (7, 1): 25, (-1, -2): 99})]
    assert classes_of_clusters(images, "hungarian") == {5: 2, 7: 1}  # 35 pixels, more than the 30 of 5 alone
    assert classes_of_clusters(images, "majority") == {5: 1, 6: 1, 7: 1}
    assert classes_of_clusters(images, "none") is None and classes_of_clusters([], "hungarian") == {}


def segments(numbers: np.ndarray, class_of: dict[int, int], least: int = 1) -> list[Segment]:
    """One segment for each class, of all that belong to it."""
    masks = {label: np.isin(numbers, [k for k in class_of if class_of[k] == label]) for label in class_of.values()}
    return [Segment(Stuff(label), mask) for label, mask in masks.items() if mask.sum() >= least]


@pytest.mark.parametrize("class_of", [None, {0: 1, 1: 0, 2: 2, 3: 2}, {1: 1, 3: 0}, {}])
@pytest.mark.parametrize("least", [1, 30])
def test_counts_tell_the_quality_of_the_segments(class_of: dict[int, int] | None, least: int) -> None:
    """Random maps whose clusters are mostly right, with objects on top and pixels without a label."""
    rng = np.random.default_rng(5)
    from_counts, from_masks = PanopticQuality(), PanopticQuality()
    for _ in range(20):
        known = np.repeat(np.repeat(rng.integers(-1, 4, (3, 3)), 4, 0), 5, 1)
        found = np.where(rng.random(known.shape) < 0.3, rng.integers(-1, 4, known.shape), known)
        top, left = rng.integers(0, 8, 2)
        mask = np.zeros(known.shape, bool)
        mask[top : top + 4, left : left + 4] = True
        regions = regions_of(found, known, [Segment(1, mask)], [Segment(1, np.roll(mask, 1, 1))])
        add_stuff(from_counts, count_pixels(regions), class_of, least)
        named = {k: k for k in range(4)} if class_of is None else class_of
        from_masks.add(
            segments(regions.found, named, least), segments(regions.known, {k: k for k in range(4)}), regions.void
        )
    assert {key: vars(one) for key, one in from_counts.of_class.items() if one.is_defined} == {
        key: pytest.approx(vars(one)) for key, one in from_masks.of_class.items() if one.is_defined
    }
    sums = [sum(values) for values in zip(*((one.matched, one.missed) for one in from_counts.of_class.values()))]
    assert sums[1] > 0 and (sums[0] > 0) == (class_of != {})
