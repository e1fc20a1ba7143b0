"""Ward's tree against SciPy's, where all are neighbours, and against a search for the best pair where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage

from unseg_d2.graph.merge_tree import Merges, spans, ward_tree
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
