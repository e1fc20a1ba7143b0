"""Key masks of a track."""

from __future__ import annotations

import numpy as np

from unseg_d2.tracks.keys import key_masks, reliability


def test_a_mask_that_differs_from_its_neighbours_is_less_reliable_than_they() -> None:
    """Of five equal scores the third mask is broken: both links to it are bad."""
    reliable = reliability(np.full(5, 0.8), np.array([np.nan, 1.0, 0.2, 0.2, 1.0]))
    np.testing.assert_allclose(reliable, 0.8 * np.array([1.0, 0.6, 0.2, 0.6, 1.0]))
    assert reliability(np.array([0.8]), np.array([np.nan])).tolist() == [0.4]


def test_the_best_are_taken_with_a_distance() -> None:
    reliable = np.array([0.5, 0.9, 0.8, 0.1, 0.5])
    assert key_masks(reliable, [0, 1, 2, 9, 20], count=1, distance=5) == [1]
    assert key_masks(reliable, [0, 1, 2, 9, 20], count=3, distance=5) == [1, 3, 4]
    assert key_masks(reliable, [0, 1, 2, 9, 20], count=9, distance=5) == [1, 3, 4]
    assert key_masks(reliable, [0, 1, 2, 9, 20], count=0, distance=5) == []
