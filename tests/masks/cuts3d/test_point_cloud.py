from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.masks.cuts3d.point_cloud import point_cloud, relief

DEPTH = np.array([[2.0, 4.0, 8.0]])


@pytest.mark.parametrize(
    ("depth", "kind", "axis", "expected"),
    [
        (DEPTH, "metric", "depth", [0, 1 / 3, 1]),
        (DEPTH, "metric", "disparity", [0, 2 / 3, 1]),  # 1/2, 1/4, 1/8
        (DEPTH, "metric", "metres", [2, 4, 8]),
        (1 / DEPTH, "inverse", "disparity", [0, 2 / 3, 1]),
        (1 / DEPTH, "inverse", "depth", [0, 2 / 3, 1]),  # scale and shift are unknown: it stays linear
        (DEPTH - 2, "relative", "depth", [0, 1 / 3, 1]),
        (DEPTH - 2, "relative", "disparity", [0, (10 - 1 / (1 / 3 + 0.1)) / (10 - 1 / 1.1), 1]),
    ],
)
def test_far_is_large_whatever_the_kind(depth, kind, axis, expected):
    np.testing.assert_allclose(relief(depth, kind, axis=axis, percentile=0)[0], expected)


def test_a_few_outliers_do_not_compress_the_rest():
    depth = np.linspace(1, 2, 1000).reshape(20, 50)
    depth[0, :5] = 1e6
    values = relief(depth, "metric", axis="depth", percentile=1.0)
    assert values[0, 0] == 1
    assert np.ptp(values.ravel()[20:900]) > 0.85


def test_flat_depth_is_zero_and_a_small_step_in_it_survives_the_percentiles():
    assert (relief(np.full((5, 6), 3.0), "metric", axis="depth", percentile=1.0) == 0).all()
    depth = np.full((20, 20), 3.0)
    depth[4, 4] = 4
    assert relief(depth, "metric", axis="depth", percentile=1.0)[4, 4] == 1


def test_points_are_centres_of_patches_and_do_not_depend_on_the_distance():
    points = point_cloud(np.array([[0.0, 1.0, 0.5, 0.0], [1.0, 1.0, 1.0, 1.0]]), scale=3)
    np.testing.assert_allclose(points[1, 2], [2.5 / 4, 1.5 / 4, 3])
    np.testing.assert_allclose(points[0, 1], [1.5 / 4, 0.5 / 4, 3])


@pytest.mark.parametrize(
    ("depth", "kind", "axis", "message"),
    [
        (np.array([[1, np.nan]]), "metric", "depth", "NaN or infinite"),
        (np.array([[1, np.inf]]), "inverse", "depth", "NaN or infinite"),
        (np.array([[0.0, 1]]), "metric", "depth", "must be positive"),
        (DEPTH, "relative", "metres", "needs metric depth"),
        (DEPTH, "metres", "depth", "kind of depth"),
        (DEPTH, "metric", "log", "depth axis"),
        (np.ones(3), "metric", "depth", "shape"),
    ],
)
def test_bad_input_is_named(depth, kind, axis, message):
    with pytest.raises(ValueError, match=message):
        relief(depth, kind, axis=axis, percentile=1.0)
