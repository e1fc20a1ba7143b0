"""Masks between two masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unseg_d2.rle import encode_mask
from unseg_d2.tracks.fill import between, fill_gap
from unseg_d2.tracks.placed import PlacedMask
from unseg_d2.tracks.settings import TrackSettings
from unseg_d2.tracks.video import track_video

SIZE = (40, 60)
NOTHING = np.zeros(SIZE, bool)


def square(top: int, left: int, side: int) -> PlacedMask:
    return PlacedMask(top, left, np.ones((side, side), bool))


def test_a_moving_square_is_half_way_at_half_time() -> None:
    middle = between(square(5, 5, 9), square(9, 25, 9), 0.5)
    assert middle is not None
    assert (middle.top, middle.left) == (7, 15) and middle.pixels.shape == (9, 9) and middle.pixels.all()


def test_a_growing_square_has_a_side_in_between() -> None:
    """Signed distances of squares of 5 and 13 px around one centre: a square of 9 px, but for its corners."""
    middle = between(square(10, 10, 5), square(6, 6, 13), 0.5)
    assert middle is not None
    np.testing.assert_allclose(middle.centre, [12, 12])
    assert middle.pixels.shape == (9, 9) and 81 - 12 <= middle.area <= 81


def test_the_ends_are_the_masks_themselves() -> None:
    ring = np.ones((7, 7), bool)
    ring[2:5, 2:5] = False
    one, other = PlacedMask(3, 4, ring), square(20, 30, 6)
    first, last = between(one, other, 0.0), between(one, other, 1.0)
    assert first is not None and last is not None
    np.testing.assert_array_equal(first.in_image(SIZE), one.in_image(SIZE))
    np.testing.assert_array_equal(last.in_image(SIZE), other.in_image(SIZE))


def test_what_others_cover_is_left_out_and_hidden_objects_are_not_filled() -> None:
    covered = NOTHING.copy()
    covered[:, :14] = True
    most = NOTHING.copy()
    most[:, :17] = True
    settings = TrackSettings(min_visible=0.5)
    others = {0.25: NOTHING, 0.5: covered, 0.75: most}
    found = fill_gap(square(10, 10, 10), square(10, 10, 10), others, SIZE, settings)
    assert {share: int(mask.sum()) for share, mask in found.items()} == {0.25: 100, 0.5: 60}
    strict = replace(settings, min_visible=0.7)
    assert set(fill_gap(square(10, 10, 10), square(10, 10, 10), others, SIZE, strict)) == {0.25}


def test_masks_that_were_found_come_before_filled_ones_of_which_two_may_overlap() -> None:
    """Two squares of 10 px whose masks share 4 columns; in the frame between, the left one is missing, or both are."""
    left, right = (
        {"category_id": 1, "segmentation": encode_mask(square(10, column, 10).in_image(SIZE)), "iscrowd": 0}
        for column in (10, 16)
    )
    settings = TrackSettings(appearance=0.0)
    found = track_video([[left, right], [right], [left, right]], range(3), SIZE, settings).frames[1]
    assert [(item.get("filled", False), item.get("area")) for item in found] == [(False, None), (True, 60)]
    found = track_video([[left, right], [], [left, right]], range(3), SIZE, settings).frames[1]
    assert [(item["filled"], item["area"]) for item in found] == [(True, 100), (True, 100)]


def test_an_object_that_left_by_a_side_and_came_back_by_it_was_not_there() -> None:
    at_left, lower, at_top = square(10, 0, 8), square(20, 0, 8), square(0, 20, 8)
    settings = TrackSettings()
    assert fill_gap(at_left, lower, {0.5: NOTHING}, SIZE, settings) == {}
    assert 0.5 in fill_gap(at_left, at_top, {0.5: NOTHING}, SIZE, settings)
