from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unseg_d2.masks.uniap import bounds
from unseg_d2.masks.uniap.bounds import gaps, joining
from unseg_d2.masks.uniap.tokens import Tokens

GRID, CHANNELS = (9, 11), 6


@pytest.fixture
def images() -> torch.Tensor:
    """Two images of tokens; one has patches without a direction."""
    tokens = torch.from_numpy(np.random.default_rng(0).standard_normal((2, CHANNELS, *GRID))).float()
    tokens[1, :, 3:5, 2:6] = 0
    return tokens


def exact_distances(means: torch.Tensor, pairs: np.ndarray, owner: np.ndarray, images: torch.Tensor) -> np.ndarray:
    """The mean of ``|m_i F_n - m_j F_n|`` over the patches n of the image, in float64, pair by pair."""
    unit = F.normalize(images.double().flatten(2), dim=1)
    rows = means.double()
    return np.array([float(((rows[i] - rows[j]) @ unit[owner[i]]).abs().mean()) for i, j in pairs.T])


def some_regions(images: torch.Tensor) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Means of 1 to 20 patches, 15 regions an image; the image of each; and pairs of those of an image."""
    rng = np.random.default_rng(1)
    unit = F.normalize(images.flatten(2), dim=1).mT
    sizes = rng.integers(1, 21, 30)
    owner = np.repeat([0, 1], 15)
    means = torch.stack([unit[image, rng.choice(99, size)].mean(0) for image, size in zip(owner, sizes)])
    pairs = np.stack([rng.integers(0, 15, 60), rng.integers(0, 15, 60)])
    return means, owner, pairs + np.repeat([0, 15], 30)


class TestGaps:
    def test_bounds_contain_the_distance_of_profiles(self, images):
        means, owner, pairs = some_regions(images)
        near, far = gaps(means, pairs, np.zeros(60, bool), owner, Tokens.of(images))
        exact = exact_distances(means, pairs, owner, images)
        assert (near.numpy() <= exact + 1e-6).all() and (exact <= far.numpy() + 1e-6).all()
        apart = exact > 0.05
        assert apart.sum() > 30 and (near.numpy() > 0)[apart].mean() > 0.9
        assert (far.numpy() < 1.5 * exact)[apart].all()  # sqrt(mean y^2) of a normal y is 1.25 mean |y|

    @pytest.mark.parametrize("share", [0.4, 1])
    def test_measured_pairs_have_the_distance_for_both(self, images, share):
        means, owner, pairs = some_regions(images)
        measured = np.arange(60) < 60 * share
        near, far = gaps(means, pairs, measured, owner, Tokens.of(images))
        exact = exact_distances(means, pairs, owner, images)
        np.testing.assert_allclose(near.numpy()[measured], exact[measured], atol=1e-6)
        np.testing.assert_array_equal(near.numpy()[measured], far.numpy()[measured])
        assert (near.numpy() < far.numpy())[~measured].all()

    def test_kept_profiles_are_used(self, images, monkeypatch):
        means, owner, pairs = some_regions(images)
        profiles = torch.from_numpy(np.random.default_rng(2).random((30, 99))).float()
        apart, _ = gaps(means, pairs, np.ones(60, bool), owner, Tokens.of(images), profiles)
        expected = np.abs(profiles.numpy()[pairs[0]] - profiles.numpy()[pairs[1]]).mean(1)
        np.testing.assert_allclose(apart, expected, atol=1e-6)


class TestJoining:
    """Five nodes in a row, with the threshold .5."""

    pairs = np.array([[0, 1, 2, 3, 0], [1, 2, 3, 4, 2]])
    taus = np.full(5, 0.5)

    def joined(self, least: list[float], most: list[float], answer: bool) -> tuple[list[bool], list[int]]:
        asked: list[int] = []

        def reach(left: np.ndarray) -> np.ndarray:
            asked.extend(left.tolist())
            return np.full(len(left), answer)

        found = joining(self.pairs, 5, np.array(least), np.array(most), self.taus, reach)
        return found.tolist(), asked

    def test_bounds_on_one_side_of_the_threshold_decide(self):
        found, asked = self.joined([0.6, 0.1, 0.7, 0.2, 0.0], [0.9, 0.4, 0.8, 0.3, 0.4], True)
        assert found == [True, False, True, False, False] and not asked

    @pytest.mark.parametrize("answer", [True, False])
    def test_pairs_that_bounds_leave_open_are_compared(self, answer):
        found, asked = self.joined([0.6, 0.1, 0.4, 0.2, 0.0], [0.9, 0.4, 0.8, 0.3, 0.4], answer)
        assert found == [True, False, answer, False, False] and asked == [2]

    def test_but_not_where_their_nodes_are_connected_already(self):
        """0 - 1 - 2 are, so that the pair of 0 and 2 need not be compared."""
        found, asked = self.joined([0.6, 0.6, 0.1, 0.1, 0.3], [0.9, 0.9, 0.2, 0.2, 0.7], True)
        assert found == [True, True, False, False, False] and not asked

    def test_bounds_next_to_the_threshold_decide_nothing(self):
        """They are float32 numbers, and the similarity may be on the other side."""
        close = bounds.DECIDED_IN_FLOAT64 / 2
        found, asked = self.joined([0.5 + close, 0.1, 0.4, 0.1, 0.1], [0.6, 0.2, 0.5 - close, 0.2, 0.2], False)
        assert not any(found) and asked == [0, 2]
