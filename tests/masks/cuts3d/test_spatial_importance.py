from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unseg_d2.masks.cuts3d.spatial_importance import spatial_importance


def step(h: int = 30, w: int = 40) -> np.ndarray:
    """Two planes that meet between the columns 19 and 20."""
    return np.repeat([[0.2] * 20 + [0.7] * 20], h, axis=0)[:, :w]


def test_equations_1_and_2():
    depth = np.random.default_rng(0).random((12, 15))
    change = np.abs(ndimage.gaussian_filter(depth, 2.0, mode="reflect") - depth)
    expected = 0.55 * (change - change.min()) / (change.max() - change.min()) + 0.45
    np.testing.assert_allclose(spatial_importance(depth, 2.0, 0.45), expected)


def test_it_is_largest_along_the_step_and_does_not_see_the_border_of_the_image():
    importance = spatial_importance(step(), 3.0, 0.45)
    assert importance.min() == pytest.approx(0.45)
    assert importance.max() == pytest.approx(1)
    assert set(importance.argmax(1)) <= {19, 20}
    np.testing.assert_allclose(importance[:, [0, -1]], 0.45, atol=1e-6)
    np.testing.assert_allclose(importance, importance[:1].repeat(30, 0))


def test_near_and_far_may_be_swapped():
    np.testing.assert_allclose(spatial_importance(1 - step(), 3.0, 0.45), spatial_importance(step(), 3.0, 0.45))


def test_flat_depth_has_none():
    assert spatial_importance(np.full((9, 9), 0.3), 3.0, 0.45) is None
    assert spatial_importance(1e-4 * step(), 3.0, 0.45) is None
    assert spatial_importance(np.zeros((1, 1)), 3.0, 0.45) is None


@pytest.mark.parametrize(("sigma", "beta"), [(0, 0.45), (-1, 0.45), (3, 1.0), (3, -0.1)])
def test_settings_out_of_range_are_named(sigma, beta):
    with pytest.raises(ValueError, match=r"(sigma|beta) must"):
        spatial_importance(step(), sigma, beta)
