from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.graph.knn import NeighbourGraph, knn_graph


def test_edges_are_those_of_all_pairwise_distances():
    points = np.random.default_rng(0).standard_normal((40, 3))
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    nearest = np.argsort(distances, axis=1)[:, 1:6]
    expected = {tuple(sorted((i, int(j)))) for i in range(40) for j in nearest[i]}
    graph = knn_graph(points, k=5)
    assert {tuple(edge) for edge in graph.edges.tolist()} == expected
    assert len(graph.edges) == len(expected)
    np.testing.assert_allclose(graph.lengths, distances[tuple(graph.edges.T)])
    assert (np.diff(graph.lengths) >= 0).all()


def test_an_edge_needs_one_of_its_ends_only():
    """The lonely point's nearest neighbour is 1, whose own nearest neighbour is 0."""
    assert knn_graph(np.array([[0.0], [1.0], [5.0]]), k=1).edges.tolist() == [[0, 1], [1, 2]]


def test_pruning_keeps_edges_of_just_that_length():
    graph = knn_graph(np.array([[0.0], [1.0], [3.0], [6.0]]), k=1)
    assert graph.lengths.tolist() == [1, 2, 3]
    assert graph.up_to(2.0).edges.tolist() == [[0, 1], [1, 2]]
    assert graph.up_to(2.0).components().tolist() == [0, 0, 0, 1]
    assert graph.up_to(0.5).components().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("count", "edges"), [(0, 0), (1, 0), (2, 1), (4, 6)])
def test_fewer_points_than_neighbours(count, edges):
    graph = knn_graph(np.random.default_rng(0).random((count, 3)), k=10)
    assert isinstance(graph, NeighbourGraph)
    assert len(graph.edges) == len(graph.lengths) == edges
    assert len(graph.components()) == count


def test_points_that_coincide_are_neighbours_and_none_is_its_own():
    graph = knn_graph(np.zeros((5, 2)), k=2)
    assert (graph.edges[:, 0] < graph.edges[:, 1]).all()
    assert (graph.lengths == 0).all()


@pytest.mark.parametrize(
    ("points", "k", "message"),
    [(np.zeros(3), 1, "shape"), (np.array([[np.nan]]), 1, "finite"), (np.zeros((3, 2)), 0, "at least 1")],
)
def test_bad_input_is_named(points, k, message):
    with pytest.raises(ValueError, match=message):
        knn_graph(points, k)
