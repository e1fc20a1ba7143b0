"""Ward's tree against SciPy's, where all are neighbours, and against a search for the best pair where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage

from unseg_d2.graph.merge_tree import Borders, Merges, in_pixels, spans, ward_tree
from unseg_d2.graph.regions import grid_edges


def sum_of_squares(points: np.ndarray) -> float:
    return float(((points - points.mean(0)) ** 2).sum())


@pytest.mark.parametrize("seed", range(3))
def test_equals_scipy_where_all_are_neighbours(seed: int) -> None:
    points = np.random.default_rng(seed).standard_normal((12, 3))
    found = ward_tree(points, np.stack(np.triu_indices(12, 1)))
    expected = linkage(points, "ward")
    np.testing.assert_array_equal(found.children, expected[:, :2].astype(int))
    np.testing.assert_allclose(found.heights, expected[:, 2])


@pytest.mark.parametrize("seed", range(3))
def test_joins_the_neighbours_that_add_least_to_the_sum_of_squares(seed: int) -> None:
    points, edges = np.random.default_rng(seed).standard_normal((12, 2)), grid_edges(3, 4)
    groups = {i: [i] for i in range(12)}
    for number, (i, j) in enumerate(ward_tree(points, edges).children.tolist()):
        added = {}
        for a in groups:
            for b in groups:
                touching = any(
                    (p in groups[a] and q in groups[b]) or (q in groups[a] and p in groups[b]) for p, q in edges.T
                )
                if a < b and touching:
                    both = sum_of_squares(points[groups[a] + groups[b]])
                    added[a, b] = both - sum_of_squares(points[groups[a]]) - sum_of_squares(points[groups[b]])
        assert (i, j) == min(added, key=added.__getitem__)
        groups[12 + number] = groups.pop(i) + groups.pop(j)
    assert list(groups) == [22]


@pytest.mark.parametrize("seed", range(3))
def test_leaves_that_stand_for_many_points_equal_as_many_equal_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, sizes = rng.standard_normal((7, 2)), rng.integers(1, 5, 7)
    found = ward_tree(points, np.stack(np.triu_indices(7, 1)), sizes.astype(float))
    expected = linkage(np.repeat(points, sizes, axis=0), "ward")[:, 2]
    np.testing.assert_allclose(found.heights, expected[-6:])
    np.testing.assert_allclose(expected[:-6], 0, atol=1e-12)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_edges_along_the_common_border_raise_costs(exponent: float) -> None:
    """Against a search over all pairs whose borders are measured anew; here a border is a list of steps."""
    rng = np.random.default_rng(3)
    points, edges = rng.standard_normal((12, 2)), grid_edges(3, 4)
    lengths, strengths = rng.integers(1, 9, edges.shape[1]).astype(float), rng.uniform(0.1, 5, edges.shape[1])
    tree = ward_tree(points, edges, None, Borders(lengths, strengths), exponent)
    groups = {i: [i] for i in range(12)}
    for number, (i, j) in enumerate(tree.children.tolist()):
        costs = {}
        for a in groups:
            for b in groups:
                ends = [(p in groups[a] and q in groups[b]) or (q in groups[a] and p in groups[b]) for p, q in edges.T]
                if a < b and any(ends):
                    both = sum_of_squares(points[groups[a] + groups[b]])
                    added = both - sum_of_squares(points[groups[a]]) - sum_of_squares(points[groups[b]])
                    costs[a, b] = 2 * added * np.average(strengths[ends], weights=lengths[ends]) ** exponent
        assert (i, j) == min(costs, key=costs.__getitem__)
        assert tree.heights[number] == pytest.approx(costs[i, j] ** 0.5)
        groups[12 + number] = groups.pop(i) + groups.pop(j)
    assert list(groups) == [22]


def test_pixels_of_a_node_are_next_to_each_other() -> None:
    tree = Merges(np.array([[1, 3], [0, 4], [5, 2]]), np.array([1.0, 2, 3]))
    labels = np.array([[0, 0, 3], [1, 2, 2]])
    places = in_pixels(spans(tree, 4), labels)
    assert places.areas.tolist() == [2, 1, 2, 1, 2, 4, 6]
    members = [[0], [1], [2], [3], [1, 3], [0, 1, 3], [0, 1, 2, 3]]
    for node, leaves in enumerate(members):
        expected = np.flatnonzero(np.isin(labels.ravel(), leaves))
        assert sorted(places.leaves(node).tolist()) == expected.tolist()


def test_leaves_of_a_node_are_next_to_each_other() -> None:
    tree = Merges(np.array([[1, 3], [0, 4], [5, 2]]), np.array([1.0, 2, 3]))
    places = spans(tree, 4)
    assert [sorted(places.leaves(node).tolist()) for node in range(7)] == [
        [0], [1], [2], [3], [1, 3], [0, 1, 3], [0, 1, 2, 3]
    ]  # fmt: skip


def test_a_graph_in_pieces_and_a_single_leaf() -> None:
    tree = ward_tree(np.array([[0.0], [1], [5]]), np.array([[0], [1]]))
    assert tree.children.tolist() == [[0, 1]] and tree.heights.tolist() == [1.0]
    assert sorted(spans(tree, 3).leaves(2).tolist()) == [2] and sorted(spans(tree, 3).leaves(3).tolist()) == [0, 1]
    alone = ward_tree(np.zeros((1, 2)), np.zeros((2, 0), int))
    assert alone.children.shape == (0, 2) and spans(alone, 1).leaves(0).tolist() == [0]
