"""Maps of stuff by hand: what lies on top, which cluster is which class, and what has no label."""

from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.evaluation.panoptic_quality import Segment
from unseg_d2.evaluation.stuff import Stuff, classes_of_clusters, count_pixels, regions_of, stuff_segments

FOUND = np.array([[5, 5, 5, 6], [5, 6, 6, -1]])
KNOWN = np.array([[1, 1, 2, 2], [1, 2, -1, 2]])


def one(row: int, column: int, category: int = 7) -> Segment:
    mask = np.zeros((2, 4), bool)
    mask[row, column] = True
    return Segment(category, mask)


def test_things_lie_on_top_on_both_sides() -> None:
    regions = regions_of(FOUND, KNOWN, [one(0, 0)], [one(0, 2), one(1, 0)._replace(is_crowd=True)])
    assert regions.found.tolist() == [[-1, 5, 5, 6], [5, 6, 6, -1]]
    assert regions.known.tolist() == [[1, 1, -1, 2], [-1, 2, -1, 2]]
    assert np.argwhere(regions.void).tolist() == [[1, 2]]
    assert count_pixels(regions) == {(5, 1): 1, (6, 2): 2}


def test_classes_that_are_no_stuff_have_no_label() -> None:
    regions = regions_of(FOUND, KNOWN, [], [], classes=[2])
    assert regions.known.tolist() == [[-1, -1, 2, 2], [-1, 2, -1, 2]]
    assert regions.void.sum() == 4 and not count_pixels(regions_of(FOUND, KNOWN, [], [], classes=[9]))


def test_clusters_are_matched_on_the_pixels_of_all_images() -> None:
    pixels = {(5, 1): 30, (5, 2): 10, (6, 1): 20, (7, 1): 25}
    assert classes_of_clusters(pixels, "hungarian") == {5: 2, 7: 1}  # 35 pixels, more than the 30 of 5 alone
    assert classes_of_clusters(pixels, "majority") == {5: 1, 6: 1, 7: 1}
    assert classes_of_clusters(pixels, "none") is None and classes_of_clusters({}, "hungarian") == {}


@pytest.mark.parametrize("least", [1, 4])
def test_clusters_of_one_class_are_one_segment(least: int) -> None:
    found = {one.category: int(one.mask.sum()) for one in stuff_segments(FOUND, {5: 1, 6: 1}, least)}
    assert found == {Stuff(1): 7}
    apart = {one.category: int(one.mask.sum()) for one in stuff_segments(FOUND, None, least)}
    assert apart == ({Stuff(5): 4, Stuff(6): 3} if least == 1 else {Stuff(5): 4})
    assert [one.category for one in stuff_segments(FOUND, {6: 3}, 1)] == [Stuff(3)]  # 5 has no class
