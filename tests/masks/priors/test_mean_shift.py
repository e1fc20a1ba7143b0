from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.masks.priors.mean_shift import estimated_bandwidth, mean_shift


def test_two_groups():
    centres, labels = mean_shift(np.array([0.0, 1, 2, 10, 11, 12]), 3.0)
    assert centres.tolist() == [1, 11]
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_wide_window_holds_everything():
    centres, labels = mean_shift(np.array([0.0, 1, 2, 10, 11, 12]), 20.0)
    assert centres.tolist() == [6]
    assert not labels.any()


def test_of_centres_within_a_bandwidth_the_one_with_the_most_numbers_stays():
    """Windows start from 0, 4 and 8. The second holds the zeros and 5, moves to their mean, 1, and stays; the third
    holds 5 and 9 and stays at 7."""
    centres, labels = mean_shift(np.array([0.0, 0, 0, 0, 5, 9]), 4.0)
    assert centres.tolist() == [1, 7]
    assert labels.tolist() == [0, 0, 0, 0, 1, 1]


def test_a_number_between_two_centres_belongs_to_the_lower_one():
    centres, labels = mean_shift(np.array([0.0, 0, 0, 3, 6, 6, 6]), 2.0)
    assert centres.tolist() == [0, 6]
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_one_number():
    centres, labels = mean_shift(np.array([7.0]), 1.0)
    assert centres.tolist() == [7] and labels.tolist() == [0]


@pytest.mark.parametrize(("quantile", "expected"), [(0.3, 1.0), (0.6, 3.25), (1.0, 10.5)])
def test_bandwidth_by_hand(quantile, expected):
    """Of 0, 1, 5 and 12 the nearest is itself, which gives the least bandwidth; the second is 1, 1, 4, 7 away; the last
    12, 11, 7, 12."""
    assert estimated_bandwidth(np.array([0.0, 1, 5, 12]), quantile) == expected
