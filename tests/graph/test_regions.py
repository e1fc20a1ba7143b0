from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unseg_d2.graph.regions import connected_groups, contract, grid_edges


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 5), (5, 1), (3, 4)])
def test_edges_join_patches_at_distance_one(h, w):
    places = [(y, x) for y in range(h) for x in range(w)]
    expected = {
        (a, b)
        for a in range(h * w)
        for b in range(a + 1, h * w)
        if abs(places[a][0] - places[b][0]) + abs(places[a][1] - places[b][1]) == 1
    }
    edges = grid_edges(h, w)
    assert edges.shape == (2, len(expected))
    assert set(zip(*edges.tolist())) == expected


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_the_components_of_an_image(seed):
    """Edges inside a random mask, and SciPy's labels of the mask; patches outside are alone."""
    mask = np.random.default_rng(seed).random((9, 13)) < 0.6
    edges = grid_edges(9, 13)
    inside = mask.ravel()[edges].all(0)
    count, groups = connected_groups(mask.size, edges[:, inside])
    labels, found = ndimage.label(mask)
    assert count == found + int((~mask).sum())
    for label in range(1, found + 1):
        assert len(np.unique(groups[(labels == label).ravel()])) == 1
    assert len(np.unique(groups[mask.ravel()])) == found
    first = np.unique(groups, return_index=True)[1]
    assert (np.diff(first) > 0).all()  # numbered by their first patches


def test_contracting_by_hand():
    """A path 0 - 1 - 2 - 3 and a side edge 0 - 3, whose middle becomes one node."""
    edges = np.array([[0, 1, 2, 0], [1, 2, 3, 3]])
    found = contract(edges, np.array([0, 1, 1, 2]), 3)
    assert found.edges.tolist() == [[0, 0, 1], [1, 2, 2]]
    assert found.origin.tolist() == [0, 3, 2]
    assert contract(edges, np.zeros(4, int), 1).edges.shape == (2, 0)


def test_contracting_keeps_each_pair_once():
    rng = np.random.default_rng(0)
    edges = rng.integers(0, 30, (2, 200))
    groups = rng.integers(0, 7, 30)
    groups[:7] = np.arange(7)
    found = contract(edges, groups, 7)
    expected = {tuple(sorted((groups[a], groups[b]))) for a, b in edges.T if groups[a] != groups[b]}
    assert [tuple(pair) for pair in found.edges.T] == sorted(expected)
    for pair, origin in zip(found.edges.T, found.origin):
        assert sorted(groups[edges[:, origin]]) == pair.tolist()


def test_a_graph_without_edges_has_a_group_for_each_node() -> None:
    count, groups = connected_groups(3, np.zeros((2, 0), dtype=np.int64))
    assert count == 3 and groups.tolist() == [0, 1, 2] and groups.dtype == np.int64


def test_nobody_changes_the_edges_of_a_grid_for_others() -> None:
    with pytest.raises(ValueError, match="read-only"):
        grid_edges(2, 3)[0, 0] = 5
