from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.graph.random_walk import random_walker


def after_many_steps(seeds: np.ndarray, region: np.ndarray, edges: np.ndarray, beta: float) -> np.ndarray:
    """Probabilities ``(k, H, W)`` that a walk is at a seed of each label after 16384 steps; at seeds it stays."""
    height, width = region.shape
    moves = np.zeros((region.size, region.size))
    for row in range(height):
        for column in range(width):
            here = row * width + column
            for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                other = row + down, column + right
                inside = 0 <= other[0] < height and 0 <= other[1] < width
                if inside and region[row, column] and region[other] and not seeds[row, column]:
                    strength = max(edges[row, column], edges[other])
                    moves[here, other[0] * width + other[1]] = np.exp(-beta * strength)
            if moves[here].any():
                moves[here] /= moves[here].sum()
            else:
                moves[here, here] = 1
    later = np.linalg.matrix_power(moves, 2**14)
    return np.stack(
        [later[:, (np.where(region, seeds, 0) == label).ravel()].sum(1).reshape(height, width) for label in (1, 2, 3)]
    )


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_those_that_walks_reach_first(seed):
    rng = np.random.default_rng(seed)
    region = rng.random((5, 6)) < 0.85
    edges = rng.random((5, 6))
    seeds = np.zeros((5, 6), int)
    seeds.flat[rng.choice(30, 3, replace=False)] = [1, 2, 3]
    labels = random_walker(seeds, region, edges, 3.0)
    likely = after_many_steps(seeds, region, edges, 3.0)
    reached = region & (likely.sum(0) > 0.5)
    kept = np.unique(labels[labels > 0])
    assert len(kept) > 1  # else nothing was decided
    np.testing.assert_array_equal(labels[reached], 1 + likely.argmax(0)[reached])
    assert not labels[~reached].any()


def test_a_walk_stays_on_its_side_of_an_edge():
    edges = np.zeros((7, 9))
    edges[:, 5] = 1
    seeds = np.zeros((7, 9), int)
    seeds[3, 0], seeds[3, 7] = 1, 2
    labels = random_walker(seeds, np.ones((7, 9), bool), edges, 10.0)
    assert (labels[:, :5] == 1).all()
    assert (labels[:, 6:] == 2).all()
    even = random_walker(seeds, np.ones((7, 9), bool), edges, 0.0)
    assert (even[:, 4] == 2).all()  # without edges the nearer seed wins: 4 steps against 3


def test_what_no_seed_reaches_has_no_label():
    region = np.ones((3, 5), bool)
    region[:, 2] = False
    seeds = np.zeros((3, 5), int)
    seeds[1, 0], seeds[1, 2] = 2, 1  # the second lies outside
    labels = random_walker(seeds, region, np.zeros((3, 5)), 1.0)
    assert (labels[:, :2] == 2).all() and not labels[:, 2:].any()


def test_seeds_everywhere_or_nowhere():
    region = np.ones((2, 3), bool)
    full = np.array([[1, 1, 2], [1, 2, 2]])
    np.testing.assert_array_equal(random_walker(full, region, np.zeros((2, 3)), 1.0), full)
    assert not random_walker(full * 0, region, np.zeros((2, 3)), 1.0).any()
