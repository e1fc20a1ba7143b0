from __future__ import annotations

import itertools

import numpy as np
import pytest

from unseg_d2.graph.mincut import minimum_cut


def cheapest_sides(n: int, edges: np.ndarray, capacities: np.ndarray, sources, sinks) -> tuple[float, list[np.ndarray]]:
    """All source sides of least capacity, by trying every one."""
    found = []
    for bits in itertools.product([False, True], repeat=n):
        side = np.array(bits)
        if side[sources].all() and not side[sinks].any():
            found.append((capacities[side[edges[:, 0]] != side[edges[:, 1]]].sum(), side))
    least = min(capacity for capacity, _ in found)
    return least, [side for capacity, side in found if capacity <= least + 1e-9]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("terminals", [([0], [7]), ([0, 1, 2], [6, 7])])
def test_extreme_ones_of_all_cheapest_cuts(seed, terminals):
    rng = np.random.default_rng(seed)
    pairs = np.array(list(itertools.combinations(range(8), 2)))
    edges = pairs[rng.random(len(pairs)) < 0.35]
    capacities = rng.integers(1, 4, len(edges)) / 4  # ties are frequent, and rounding is exact
    sources, sinks = terminals
    capacity, sides = cheapest_sides(8, edges, capacities, sources, sinks)
    cut = minimum_cut(8, edges, capacities, np.array(sources), np.array(sinks))
    assert cut.capacity == pytest.approx(capacity, abs=1e-5)
    np.testing.assert_array_equal(cut.minimal, np.logical_and.reduce(sides))
    np.testing.assert_array_equal(cut.maximal, np.logical_or.reduce(sides))


def test_a_neck_between_two_cliques():
    clique = np.array(list(itertools.combinations(range(5), 2)))
    edges = np.concatenate([clique, clique + 5, [[4, 5]]])
    cut = minimum_cut(10, edges, np.full(len(edges), 0.9), np.array([0]), np.array([9]))
    assert cut.capacity == pytest.approx(0.9)
    assert cut.minimal.tolist() == cut.maximal.tolist() == [True] * 5 + [False] * 5


def test_of_unconnected_terminals_the_third_part_may_go_to_either():
    edges = np.array([[0, 1], [2, 3], [4, 5]])
    cut = minimum_cut(6, edges, np.ones(3), np.array([0]), np.array([5]))
    assert cut.capacity == 0
    assert cut.minimal.tolist() == [True, True, False, False, False, False]
    assert cut.maximal.tolist() == [True, True, True, True, False, False]


def test_edges_without_capacity_connect_nothing():
    cut = minimum_cut(3, np.array([[0, 1], [1, 2]]), np.array([1.0, 0.0]), np.array([0]), np.array([2]))
    assert cut.minimal.tolist() == [True, True, False]


def test_no_edges():
    cut = minimum_cut(2, np.zeros((0, 2), int), np.zeros(0), np.array([0]), np.array([1]))
    assert cut.minimal.tolist() == cut.maximal.tolist() == [True, False]


@pytest.mark.parametrize(
    ("capacity", "sources", "sinks", "message"),
    [(1.5, [0], [1], r"\[0, 1\]"), (float("nan"), [0], [1], r"\[0, 1\]"), (1, [0], [0], "both"), (1, [], [1], "one")],
)
def test_bad_input_is_named(capacity, sources, sinks, message):
    with pytest.raises(ValueError, match=message):
        minimum_cut(2, np.array([[0, 1]]), np.array([capacity]), np.array(sources, int), np.array(sinks, int))
