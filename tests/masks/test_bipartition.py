from __future__ import annotations

import math

import numpy as np
import pytest

from unseg_d2.masks.bipartition import (
    border_share,
    connected_component,
    foreground_side,
    inner_side,
    intersection_over_union,
)

CORNERS = [(0, 0), (0, 5), (4, 0), (4, 5)]  # of a 5x6 grid
PEAK = (2, 3)


def eigenvector(num_corners: int) -> np.ndarray:
    """Positive on a side with the peak and some corners, negative on the rest."""
    vector = np.full((5, 6), -0.1)
    vector[1:4, 2:5] = 1.0
    vector[PEAK] = 2.0
    for corner in CORNERS[:num_corners]:
        vector[corner] = 0.9
    return vector


class TestInnerSide:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_the_side_that_covers_less_of_the_border(self, sign):
        """A strip of sky has the peak and more than half of the border; the rest has the object."""
        vector = np.full((5, 6), 0.1)
        vector[:3] = 1.0
        vector[0, 0] = 2.0
        vector[2, 2:4] = -0.5
        side, seed = inner_side(sign * vector)
        np.testing.assert_array_equal(side, vector < vector.mean())
        assert np.unravel_index(seed, side.shape) == (2, 2)  # the first of the two most extreme ones
        assert border_share(side) == 8 / 18  # a border of 18 patches; rows 3 and 4 have 2 + 6 of them

    def test_it_is_the_side_of_the_peak_where_that_covers_less(self):
        vector = eigenvector(2)
        for ours, published in zip(inner_side(vector), foreground_side(vector, corner_rule=False)):
            np.testing.assert_array_equal(ours, published)

    def test_a_constant_vector_has_no_foreground(self):
        assert not inner_side(np.full((3, 4), 0.25))[0].any()


class TestForegroundSide:
    @pytest.mark.parametrize("num_corners", range(5))
    @pytest.mark.parametrize("sign", [1, -1])
    def test_every_number_of_corners_with_either_sign(self, num_corners, sign):
        """The published rule: only where the peak's side touches three corners does the sign matter."""
        vector = eigenvector(num_corners)
        peak_side = vector > vector.mean()
        side, seed = foreground_side(sign * vector)
        takes_complement = num_corners >= 3 and sign > 0
        np.testing.assert_array_equal(side, ~peak_side if takes_complement else peak_side)
        assert side.flat[seed]
        if not takes_complement:
            assert np.unravel_index(seed, side.shape) == PEAK

    @pytest.mark.parametrize("sign", [1, -1])
    def test_without_the_corner_rule_the_peak_decides(self, sign):
        vector = eigenvector(4)
        side, seed = foreground_side(sign * vector, corner_rule=False)
        np.testing.assert_array_equal(side, vector > vector.mean())
        assert np.unravel_index(seed, side.shape) == PEAK

    def test_dropped_patches_count_for_nothing(self):
        vector = eigenvector(2)
        live = np.ones(vector.shape, dtype=bool)
        live[PEAK] = live[0, 0] = False
        vector[~live] = 1e6
        side, seed = foreground_side(vector, live)
        assert not side[~live].any()
        np.testing.assert_array_equal(side[live], vector[live] > vector[live].mean())
        assert seed == 1 * 6 + 2  # the first of the equal largest entries that are left

    def test_ties_up_to_rounding_take_the_first_in_row_major_order(self):
        vector = eigenvector(0)
        vector[3, 4] = vector[PEAK] * (1 + 1e-12)
        assert foreground_side(vector)[1] == 2 * 6 + 3

    def test_a_constant_vector_has_no_foreground(self):
        side, _ = foreground_side(np.full((3, 4), 0.25))
        assert not side.any()


def test_components_are_connected_by_sides_and_not_by_corners():
    side = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]], dtype=bool)
    np.testing.assert_array_equal(connected_component(side, 6), [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]])
    assert not connected_component(side, 3).any()


def test_intersection_over_union():
    first, second = np.array([[1, 1, 0]], dtype=bool), np.array([[0, 1, 1]], dtype=bool)
    assert intersection_over_union(first, second) == pytest.approx(1 / 3)
    assert math.isnan(intersection_over_union(first & False, second & False))
