from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from unseg_d2.masks.votecut.kmeans_1d import kmeans_1d
from unseg_d2.masks.votecut.kmeans_lloyd import lloyd_kmeans_1d


def cost(values: np.ndarray, labels: np.ndarray) -> float:
    return sum(((values[labels == label] - values[labels == label].mean()) ** 2).sum() for label in np.unique(labels))


def least_cost(values: np.ndarray, k: int) -> float:
    """Least cost over every way to cut the distinct numbers into k intervals."""
    distinct = np.unique(values)
    costs = [
        cost(values, np.searchsorted(distinct[list(cuts)], values, side="right"))
        for cuts in combinations(range(1, len(distinct)), min(k, len(distinct)) - 1)
    ]
    return min(costs)


class TestExact:
    def test_by_hand(self):
        values = np.array([10.0, 0.0, 1.0, 11.0, 5.0])
        two, three = kmeans_1d(values, (2, 3))
        np.testing.assert_array_equal(two, [1, 0, 0, 1, 0])  # {0, 1, 5} {10, 11}: 14 + .5
        np.testing.assert_array_equal(three, [2, 0, 0, 2, 1])

    @pytest.mark.parametrize("seed", range(40))
    def test_least_cost_of_all_partitions(self, seed):
        rng = np.random.default_rng(seed)
        size = int(rng.integers(1, 12))
        values = rng.integers(0, 7, size).astype(float) if seed % 2 else rng.standard_normal(size) * 10.0**seed
        for k, labels in zip((1, 2, 3, 4), kmeans_1d(values, (1, 2, 3, 4))):
            assert cost(values, labels) == pytest.approx(least_cost(values, k), abs=1e-12 * np.ptp(values) ** 2)
            assert set(labels) == set(range(min(k, len(np.unique(values)))))

    def test_clusters_are_intervals_from_low_to_high(self):
        values = np.random.default_rng(0).standard_normal(500)
        (labels,) = kmeans_1d(values, (5,))
        order = np.argsort(values)
        assert (np.diff(labels[order]) >= 0).all()
        assert labels.max() == 4

    def test_equal_numbers_stay_together_up_to_rounding(self):
        values = np.array([0.1 + 0.2, 0.3, 0.3, 0.3])
        (labels,) = kmeans_1d(np.append(values, 1.0), (3,))
        np.testing.assert_array_equal(labels, [0, 0, 0, 0, 1])

    def test_the_sign_of_an_eigenvector_does_not_matter(self):
        values = np.random.default_rng(1).standard_normal(300)
        for k, labels, mirrored in zip((2, 3), kmeans_1d(values, (2, 3)), kmeans_1d(-values, (2, 3))):
            np.testing.assert_array_equal(labels, k - 1 - mirrored)

    @pytest.mark.parametrize("values", [np.zeros(0), np.array([1.0, np.nan]), np.zeros((2, 2))])
    def test_what_is_no_list_of_numbers_is_refused(self, values):
        with pytest.raises(ValueError, match="finite numbers"):
            kmeans_1d(values, (2,))

    def test_no_clusters(self):
        with pytest.raises(ValueError, match="at least 1"):
            kmeans_1d(np.ones(3), (0,))


class TestLloyd:
    def test_finds_separate_groups(self):
        values = np.array([10.0, 0.0, 1.0, 11.0, 5.0, 5.1])
        labels = lloyd_kmeans_1d(values, 3)
        assert len(set(labels)) == 3
        assert labels[0] == labels[3] and labels[1] == labels[2] and labels[4] == labels[5]

    @pytest.mark.parametrize("k", [2, 3])
    def test_comes_close_to_the_optimum(self, k):
        values = np.random.default_rng(k).standard_normal(900) ** 3
        (best,) = kmeans_1d(values, (k,))
        labels = lloyd_kmeans_1d(values, k)
        assert cost(values, best) <= cost(values, labels) <= 1.001 * cost(values, best)
        assert agreement(labels, best, k) > 0.98

    def test_fewer_distinct_numbers_than_clusters(self):
        labels = lloyd_kmeans_1d(np.array([1.0, 2.0, 1.0]), 3)
        assert labels[0] == labels[2] != labels[1]


def agreement(labels: np.ndarray, others: np.ndarray, k: int) -> float:
    """Share of equal labels once each label is renamed to the other clustering's most frequent one in it."""
    renamed = np.array([np.bincount(others[labels == label], minlength=k).argmax() for label in range(k)])
    return float((renamed[labels] == others).mean())
