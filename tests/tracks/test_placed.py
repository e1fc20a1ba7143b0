"""Masks cut to their boxes, against the same operations on whole pictures."""

from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.rle import encode_mask
from unseg_d2.tracks.placed import PlacedMask

SIZE = (12, 15)


def random_mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros(SIZE, bool)
    top, left = rng.integers(0, 6, 2)
    mask[top : top + 6, left : left + 7] = rng.random((6, 7)) < 0.6
    return mask


def placed(mask: np.ndarray) -> PlacedMask:
    found = PlacedMask.of(mask)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(8))
def test_overlaps_equal_those_of_whole_pictures(seed: int) -> None:
    one, other = random_mask(seed), random_mask(seed + 100)
    first, second = placed(one), placed(other)
    assert first.area == one.sum()
    assert first.shared(second) == (one & other).sum()
    assert first.iou(second) == pytest.approx((one & other).sum() / (one | other).sum())
    np.testing.assert_allclose(first.centre, np.argwhere(one).mean(axis=0))
    np.testing.assert_array_equal(first.in_image(SIZE), one)
    again = PlacedMask.of_rle(encode_mask(one))
    assert again is not None and (again.top, again.left) == (first.top, first.left)
    np.testing.assert_array_equal(again.pixels, first.pixels)


def test_a_moved_mask_may_leave_the_picture() -> None:
    mask = np.zeros(SIZE, bool)
    mask[0:4, 0:5] = True
    moved = placed(mask).moved(np.array([-1.6, 0.4]))
    expected = np.zeros(SIZE, bool)
    expected[0:2, 0:5] = True
    np.testing.assert_array_equal(moved.in_image(SIZE), expected)
    assert moved.area == 20 and moved.sides_touched(SIZE) == {"top", "left"}
    assert not placed(mask).moved(np.array([50, 0])).in_image(SIZE).any()
    assert placed(mask).moved(np.array([3, 2])).sides_touched(SIZE) == frozenset()


def test_the_same_shape_elsewhere_agrees_completely() -> None:
    one = placed(random_mask(3))
    assert one.aligned_iou(one.moved(np.array([4, -3]))) == 1
    assert one.iou(one.moved(np.array([40, 0]))) == 0


def test_an_empty_mask_has_no_box() -> None:
    assert PlacedMask.of(np.zeros(SIZE, bool)) is None
    assert PlacedMask.of_rle(encode_mask(np.zeros(SIZE, bool))) is None
