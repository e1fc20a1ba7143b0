from __future__ import annotations

import numpy as np
import pytest

from unseg_d2 import compiled
from unseg_d2.graph.mincut import minimum_cut
from unseg_d2.masks.priors import seed_cuts
from unseg_d2.masks.priors.seed_cuts import DIRECTIONS, UNITS, GridGraph, all_directions, seed_foregrounds


@pytest.fixture(params=["numba", "scipy"])
def solver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numba" and not compiled.has_numba():
        pytest.skip("Numba is not installed")
    monkeypatch.setattr(compiled, "has_numba", lambda: request.param == "numba")
    return request.param


def graph(rows: int, columns: int, seed: int, step: int = 1) -> GridGraph:
    """A random graph whose capacities and distances are multiples of a step, in units."""
    rng = np.random.default_rng(seed)
    n, levels = rows * columns, UNITS // step
    links = rng.integers(0, levels + 1, (len(DIRECTIONS), rows, columns)) * step
    links[0, :, -1] = links[1, :, 0] = links[3, :, -1] = 0
    links[1:, -1] = 0
    distances = np.triu(rng.integers(1, 2 * levels + 1, (n, n)) * step, 1)
    opposite = np.triu(rng.random((n, n)) < 0.3, 1)
    return GridGraph(links.astype(np.int32), (distances + distances.T).astype(np.int32), opposite | opposite.T)


def edges_of(links: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The links in plain loops: edges ``(m, 2)`` and their capacities ``(m,)``."""
    rows, columns = links.shape[1:]
    found, capacities = [], []
    for k, (down, right) in enumerate(DIRECTIONS):
        for row in range(rows - down):
            for column in range(max(0, -right), columns - max(0, right)):
                found.append((row * columns + column, (row + down) * columns + column + right))
                capacities.append(links[k, row, column] / UNITS)
    return np.array(found).reshape(-1, 2), np.array(capacities)


def expected(given: GridGraph, seed: int, *, by_logarithms: bool) -> tuple[np.ndarray, float]:
    """The smallest source side and the least cost for one seed, by the general minimum cut."""
    away = given.distances[seed] / UNITS
    near = given.distances[given.opposite[seed]].min(0) / UNITS
    if by_logarithms:
        total = np.exp(away) + np.exp(near)
        to_seed, to_background = -np.log(np.exp(away) / total), -np.log(np.exp(near) / total)
    else:
        to_seed, to_background = np.maximum(near - away, 0), np.maximum(away - near, 0)
    n = len(away)
    edges, capacities = edges_of(given.links)
    patches = np.tile(np.arange(n), 3)  # three edges each, since a capacity must not exceed 1
    edges = np.concatenate(
        [edges, np.stack([patches, np.full(3 * n, n)], 1), np.stack([patches, np.full(3 * n, n + 1)], 1)]
    )
    capacities = np.concatenate([capacities, np.tile(to_seed / 3, 3), np.tile(to_background / 3, 3)])
    background = np.flatnonzero((near == 0) & (away > 0))
    cut = minimum_cut(n + 2, edges, capacities, np.append(np.flatnonzero(away == 0), n), np.append(background, n + 1))
    return cut.minimal[:n], cut.capacity


def cost(given: GridGraph, seed: int, side: np.ndarray) -> float:
    """What it costs to cut a side out, its links to the terminals included."""
    edges, capacities = edges_of(given.links)
    away = given.distances[seed] / UNITS
    pull = given.distances[given.opposite[seed]].min(0) / UNITS - away
    pull[(pull == -away) | (away == 0)] = 0  # those have no choice
    between = capacities[side[edges[:, 0]] != side[edges[:, 1]]].sum()
    return float(between + np.maximum(pull, 0)[~side].sum() + np.maximum(-pull, 0)[side].sum())


@pytest.mark.parametrize("seed", range(3))
def test_the_general_minimum_cut_finds_the_same_sides_from_both_links_of_a_patch(solver, seed):
    given = graph(4, 5, seed)
    found = seed_foregrounds(given)
    for patch in range(20):
        if given.opposite[patch].any():
            side, _ = expected(given, patch, by_logarithms=True)
            np.testing.assert_array_equal(found[patch], side)


@pytest.mark.parametrize("seed", range(6))
def test_of_several_cuts_at_equal_cost_the_smallest_side(solver, seed):
    """Few different capacities, so that ties are frequent; a third of each is a whole number of units."""
    given = graph(3, 4, seed, step=19_998)
    found = seed_foregrounds(given)
    for patch in np.flatnonzero(given.opposite.any(1)):
        side, least = expected(given, patch, by_logarithms=False)
        np.testing.assert_array_equal(found[patch], side)
        assert cost(given, patch, found[patch]) == pytest.approx(least, abs=1e-3)


def test_a_seed_without_an_opposite_has_no_foreground(solver):
    given = graph(3, 3, 0)
    alone = GridGraph(given.links, given.distances, np.zeros((9, 9), bool))
    assert not seed_foregrounds(alone).any()


def test_what_equals_the_seed_is_foreground_and_what_equals_an_opposite_background(solver):
    given = graph(3, 4, 1)
    distances, opposite = given.distances.copy(), np.zeros((12, 12), bool)
    opposite[0, 5] = opposite[5, 0] = True
    distances[0, 7] = distances[7, 0] = distances[5, 8] = distances[8, 5] = 0
    found = seed_foregrounds(GridGraph(given.links, distances, opposite))
    assert found[0, [0, 7]].all()
    assert not found[0, [5, 8]].any()


def test_both_solvers_agree_on_a_larger_grid():
    if not compiled.has_numba():
        pytest.skip("Numba is not installed")
    given = graph(7, 9, 0, step=25_000)
    np.testing.assert_array_equal(seed_foregrounds(given), seed_cuts.foregrounds_by_scipy(given))


def test_a_single_patch(solver):
    given = GridGraph(np.zeros((4, 1, 1), np.int32), np.zeros((1, 1), np.int32), np.zeros((1, 1), bool))
    assert not seed_foregrounds(given).any()


def test_links_lead_both_ways():
    links = all_directions(graph(3, 4, 0).links)
    steps = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
    for k, (down, right) in enumerate(steps):
        back = np.roll(links[7 - k], (-down, -right), (0, 1))  # of the neighbour, the link to here
        np.testing.assert_array_equal(links[k, 1:-1, 1:-1], back[1:-1, 1:-1])
    assert not links[:, [0, -1]].any()
    assert not links[:, :, [0, -1]].any()
