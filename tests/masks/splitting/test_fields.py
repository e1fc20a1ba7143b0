"""Object-centric fields, against numbers by hand and plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.masks.splitting import ObjectFields, fields_of_masks
from unseg_d2.masks.splitting.fields import anti_centre


def test_the_fields_of_two_rectangles_that_touch() -> None:
    """Rows 1 to 3 and columns 1 to 5 and 6 to 8 of 5 x 11 pixels; distances are to the nearest pixel outside."""
    masks = np.zeros((2, 5, 11), bool)
    masks[0, 1:4, 1:6], masks[1, 1:4, 6:9] = True, True
    fields = fields_of_masks(masks)
    far = 5**0.5  # of the corners at the right
    inside = [0.5, 1, 1, 1, 0.5, 0.5, 1, 0.5]
    np.testing.assert_allclose(fields.boundary[2], [-1 / far, *inside, -1 / far, -2 / far], rtol=1e-6)
    assert fields.boundary[0, 0] == pytest.approx(-(2**0.5) / far)
    half = 0.5**0.5
    np.testing.assert_allclose(fields.centre[:, 1, 2], [-half, -half], rtol=1e-6)  # the centre is (2, 3)
    np.testing.assert_allclose(fields.centre[:, 2, 3], [0, 0])
    np.testing.assert_allclose(fields.centre[:, 2, 5], [0, 1])  # it points to the neighbour,
    np.testing.assert_allclose(fields.centre[:, 2, 6], [0, -1])  # and the neighbour's to it
    assert not fields.centre[:, [0, 4]].any()


def test_what_lies_in_front_hides_and_the_border_of_the_image_is_an_outline() -> None:
    masks = np.ones((3, 3, 6), bool)
    masks[1, :, :3] = False
    masks[2] = False  # no object
    fields = fields_of_masks(masks)
    np.testing.assert_allclose(fields.boundary, [[0.5] * 6, [0.5, 1, 0.5] * 2, [0.5] * 6])
    np.testing.assert_allclose(fields.centre[1, 1], [-1, 0, 1] * 2)  # columns 0 to 2 are left of the first mask


def test_without_objects_everything_is_outside() -> None:
    fields = fields_of_masks(np.zeros((0, 4, 5), bool))
    assert not fields.centre.any() and (fields.boundary == -1).all()


def test_the_convolution_is_a_mean_of_cosines() -> None:
    rng = np.random.default_rng(0)
    centre = rng.uniform(-1, 1, (2, 7, 9)).astype(np.float32)
    expected = np.zeros((7, 9))
    for row in range(7):
        for column in range(9):
            for down in range(-2, 3):
                for right in range(-2, 3):
                    r, c = row + down, column + right
                    if (down or right) and 0 <= r < 7 and 0 <= c < 9:
                        towards = -np.array([down, right]) / np.hypot(down, right)
                        expected[row, column] += centre[:, r, c] @ towards / 24
    np.testing.assert_allclose(anti_centre(centre), expected, atol=1e-6)


def test_vectors_meet_between_two_objects_and_part_within_one() -> None:
    """All vectors left of a border point right, all others left: by hand, 4 columns of |right| / distance over 24."""
    centre = np.zeros((2, 9, 10), np.float32)
    centre[1, :, :5], centre[1, :, 5:] = 1, -1
    beside = 1 + 2 / 2**0.5 + 2 / 5**0.5
    farther = 1 + 4 / 5**0.5 + 4 / 8**0.5
    assert anti_centre(centre)[4, 4] == pytest.approx(2 * (beside + farther) / 24)
    masks = np.zeros((2, 21, 42), bool)
    masks[0, :, :21], masks[1, :, 21:] = True, True
    both, one = (anti_centre(fields_of_masks(found).centre)[4:-4, 4:-4] for found in (masks, masks.any(0)[None]))
    assert np.unravel_index(both.argmax(), both.shape)[1] + 4 in (20, 21) and both.max() > 0.4
    assert (one < 0).all()


@pytest.mark.parametrize(
    ("centre", "boundary", "message"),
    [
        (np.zeros((2, 4, 5)), np.zeros((5, 4)), "expected a centre field"),
        (np.zeros((4, 5)), np.zeros((4, 5)), "expected a centre field"),
        (np.full((2, 4, 5), np.nan), np.zeros((4, 5)), "not finite"),
        (np.full((2, 4, 5), -3.0), np.zeros((4, 5)), "divide each vector by its length"),
        (np.zeros((2, 4, 5)), np.full((4, 5), 1.1), r"\[-1, 1\]"),
        (np.zeros((2, 4, 5)), np.full((4, 5), np.nan), r"\[-1, 1\]"),
    ],
)
def test_fields_that_cannot_be_used_are_named(centre: np.ndarray, boundary: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectFields(centre, boundary)
