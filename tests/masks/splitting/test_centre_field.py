"""Masks divided by object-centric fields."""

from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.masks.splitting import FieldSettings, SplitSettings, fields_of_masks, split_by_fields
from unseg_d2.masks.splitting.box_fit import Box, box_of
from unseg_d2.masks.splitting.centre_field import boxes_of_objects

SIZE = (80, 140)
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]]


def disc(row: float, column: float, radius: float) -> np.ndarray:
    return (ROWS - row) ** 2 + (COLUMNS - column) ** 2 <= radius**2


def visible(*masks: np.ndarray) -> np.ndarray:
    """Masks of which the later ones lie in front."""
    return np.stack([mask & ~np.any(masks[k + 1 :], axis=0) for k, mask in enumerate(masks)])


def assert_parts(objects: np.ndarray, least: float = 1.0) -> None:
    """One mask of all objects is divided into them; each is found with at least this IoU."""
    union = objects.any(0)
    found = [one.mask for one in split_by_fields(union[None], fields_of_masks(objects))]
    assert len(found) == len(objects)
    np.testing.assert_array_equal(np.sum(found, axis=0), union)  # disjoint, and nothing is lost
    for mask in objects:
        assert max(np.count_nonzero(mask & part) / np.count_nonzero(mask | part) for part in found) >= least


def test_two_rectangles() -> None:
    objects = np.zeros((2, *SIZE), bool)
    objects[0, 20:60, 10:60], objects[1, 20:60, 60:125] = True, True
    assert_parts(objects)


def test_two_discs_side_by_side_and_across() -> None:
    assert_parts(visible(disc(40, 40, 22), disc(40, 76, 22)), 0.99)
    assert_parts(visible(disc(28, 40, 20), disc(51, 64, 20)), 0.99)


def test_a_large_disc_and_a_small_one_in_front_of_its_side() -> None:
    assert_parts(visible(disc(40, 50, 32), disc(40, 88, 16)), 0.98)


def test_three_in_a_row_need_two_looks() -> None:
    objects = visible(disc(40, 28, 18), disc(40, 52, 18), disc(40, 76, 18))
    assert_parts(objects, 0.95)


def test_discs_that_touch_in_a_narrow_place_fall_apart_when_eroded() -> None:
    assert_parts(visible(disc(40, 35, 22), disc(40, 78, 22)), 0.98)


def test_fields_that_know_one_object_leave_the_mask_as_it_is() -> None:
    union = disc(40, 40, 22) | disc(40, 76, 22)
    (only,) = split_by_fields(union[None], fields_of_masks(union[None]))
    np.testing.assert_array_equal(only.mask, union)


def test_equal_parts_of_two_masks_become_one() -> None:
    objects = visible(disc(40, 40, 22), disc(40, 76, 22))
    masks = np.stack([objects.any(0), objects[1]])
    found = split_by_fields(masks, fields_of_masks(objects))
    assert [one.parents for one in found] == [(0, 1), (0,)]  # the disc in front is the larger part
    found = split_by_fields(masks, fields_of_masks(objects), SplitSettings(merge_above=1.0))
    assert len(found) == 3


def test_a_part_that_is_too_small_is_shared_out() -> None:
    objects = visible(disc(40, 50, 32), disc(40, 88, 16))
    settings = SplitSettings(min_area=0.4)
    (only,) = split_by_fields(objects.any(0)[None], fields_of_masks(objects), settings)
    np.testing.assert_array_equal(only.mask, objects.any(0))


def test_a_mask_is_cut_where_vectors_meet_most() -> None:
    objects = np.zeros((2, *SIZE), bool)
    objects[0, 20:60, 10:60], objects[1, 20:60, 60:110] = True, True
    union, centre = objects.any(0), fields_of_masks(objects).centre
    whole = box_of(union)
    assert whole is not None
    above, below, left, right = boxes_of_objects(union, centre, whole, FieldSettings())
    assert abs(left.right - 60) <= 1 and left.right == right.left and (left.left, right.right) == (10, 110)
    assert above.bottom == below.top and (above.top, below.bottom) == (20, 60)
    assert abs(above.bottom - 40) <= 2  # between the two centres
    assert boxes_of_objects(union, centre, whole, FieldSettings(peak=0.99)) == [whole]
    assert boxes_of_objects(union, centre, whole, FieldSettings(erosion=40)) == [whole]  # nothing is left


def test_the_parts_of_an_eroded_mask_have_larger_boxes() -> None:
    mask = np.zeros(SIZE, bool)
    mask[10:50, 0:50], mask[29:31, 50:78], mask[10:50, 78:128] = True, True, True
    found = boxes_of_objects(mask, np.zeros((2, *SIZE), np.float32), Box(10, 50, 0, 128), FieldSettings())
    assert found == [Box(18, 42, 6, 44), Box(18, 42, 84, 122)]  # 16 x 26 px are left of either, times 1.5


def test_nothing_to_split() -> None:
    fields = fields_of_masks(disc(40, 40, 22)[None])
    assert split_by_fields(np.zeros((0, *SIZE), bool), fields) == []
    assert split_by_fields(np.zeros((1, *SIZE), bool), fields) == []


@pytest.mark.parametrize(
    ("masks", "message"), [(np.zeros((1, *SIZE)), "must be bool"), (np.zeros((1, 5, 4), bool), "resize one of them")]
)
def test_bad_input_is_named(masks: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_by_fields(masks, fields_of_masks(np.zeros((1, *SIZE), bool)))
