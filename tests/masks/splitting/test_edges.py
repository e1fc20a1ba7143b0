from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.masks.splitting import canny_edges, depth_edges


def test_a_step_in_depth_is_an_edge_on_both_sides():
    depth = np.where(np.arange(12) < 5, 1.0, 2.0)[None].repeat(8, 0)
    expected = np.zeros((8, 12), np.float32)
    expected[:, 4:6] = 1
    np.testing.assert_array_equal(depth_edges(depth, "metric", 0.5), expected)
    np.testing.assert_array_equal(depth_edges(1 / depth, "inverse", 0.5), expected)


def test_the_strength_is_the_share_of_the_step():
    """Disparities 1, 0.9 and 0: the range is 1."""
    depth = 1 / np.array([1.0, 0.9, 0.001])[None].repeat(4, 0)
    found = depth_edges(depth, "metric", 1.0)
    assert found[0] == pytest.approx([0.1, 0.9, 0.9], abs=2e-3)


def test_a_slope_is_none():
    disparity = np.linspace(1, 2, 100)[None].repeat(20, 0)
    assert depth_edges(1 / disparity, "metric", 0.05).max() < 0.25


def test_contours_of_the_image():
    image = np.full((40, 60, 3), 60, np.uint8)
    image[10:30, 15:45] = 200
    edges = canny_edges(image, 50, 100)
    assert edges.dtype == np.float32 and set(np.unique(edges)) == {0, 1}
    near = np.zeros((40, 60), bool)
    near[8:32, 13:47], near[12:28, 17:43] = True, False
    assert not edges[~near].any()
    assert edges[20].sum() == 2 and edges[:, 30].sum() == 2
    assert not canny_edges(np.full((9, 9, 3), 7, np.uint8), 50, 100).any()
