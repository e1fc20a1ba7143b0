from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.masks.activation import SAME_LENGTHS, ActivationSettings, activation, otsu_threshold, responses


def tokens_of(lengths: np.ndarray) -> torch.Tensor:
    """Tokens ``(1, 5, h, w)`` in random directions, of given lengths."""
    directions = np.random.default_rng(0).standard_normal((5, *lengths.shape))
    return torch.from_numpy(lengths * directions / np.linalg.norm(directions, axis=0))[None]


def test_responses_by_hand() -> None:
    np.testing.assert_allclose(responses(np.array([[2.0, 4], [3, 2]])), [[0, 1], [0.5, 0]])
    assert not responses(np.array([[1.0, 1.0005]])).any()


@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_leaves_least_variance_within_groups(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.uniform(0, 0.4, 60), rng.uniform(0.5, 1, 30), [0, 1]])
    levels = np.rint(255 * values)
    within = {}
    for level in range(255):
        groups = levels[levels <= level], levels[levels > level]
        within[level] = sum(group.var() * len(group) for group in groups)
    found = round(255 * otsu_threshold(values))
    assert within[found] == pytest.approx(min(within.values()))


def test_the_part_that_responds_most_is_the_object() -> None:
    """Two parts of length 5, of 12 and of 20 patches, and one of a single patch, which is too small."""
    lengths = np.ones((12, 14))
    first, second = np.zeros((2, 12, 14), bool)
    first[2:5, 1:5] = second[6:11, 8:12] = True
    lengths[first | second] = 5
    lengths[0, 13] = 5
    (found,) = activation(tokens_of(lengths))
    np.testing.assert_array_equal(found.masks.numpy(), second[None])
    assert found.scores.tolist() == pytest.approx([1]) and found.rejected == {"min_area": 1, "num_masks": 1}
    (both,) = activation(tokens_of(lengths), ActivationSettings(num_masks=5))
    np.testing.assert_array_equal(both.masks.numpy(), np.stack([second, first]))


def test_a_threshold_of_ones_own() -> None:
    lengths = np.ones((4, 10))
    lengths[1:3, 2:8] = 1 + np.arange(6)  # responses 0, .2, ... 1
    (found,) = activation(tokens_of(lengths), ActivationSettings(min_response=0.5))
    expected = np.zeros((4, 10), bool)
    expected[1:3, 5:8] = True
    np.testing.assert_array_equal(found.masks.numpy(), expected[None])
    assert found.scores.tolist() == pytest.approx([0.8])


def test_features_of_one_length_are_named() -> None:
    (found,) = activation(tokens_of(np.full((6, 6), 2.0)))
    assert len(found) == 0 and found.rejected == {SAME_LENGTHS: 1}
    assert "FEATURES.CNN.LENGTHS True" in ActivationSettings().when_empty()
