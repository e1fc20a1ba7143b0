from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.viz.cut_trace import GAP, TITLE_HEIGHT, CutPicture, draw_cut_trace, enlarge, middle_map, scale_map

SIDE = 60


def trace(cuts: int, importance: bool = True) -> np.ndarray:
    rng = np.random.default_rng(0)
    depth, mask = rng.random((6, 8)), rng.random((6, 8)) < 0.5
    cut = CutPicture("kept", rng.standard_normal((6, 8)), mask, mask, mask * 0.75)
    image = np.full((40, 70, 3), 90, np.uint8)
    accepted = np.repeat(mask[None], cuts, axis=0)
    return draw_cut_trace(image, depth, depth if importance else None, [cut] * cuts, accepted, side=SIDE)


@pytest.mark.parametrize("cuts", [0, 1, 3])
@pytest.mark.parametrize("importance", [True, False])
def test_four_panels_in_a_row_for_the_image_and_each_cut(cuts, importance):
    picture = trace(cuts, importance)
    assert picture.shape == ((1 + cuts) * (SIDE + TITLE_HEIGHT + GAP), 4 * (SIDE + 2 * GAP), 3)
    assert picture.dtype == np.uint8
    assert (picture[TITLE_HEIGHT + 5, GAP + 5] == 90).all()


def test_titles_are_written():
    assert trace(1)[:TITLE_HEIGHT].min() < 128


def test_brighter_is_more_and_limits_hold():
    values = np.array([[0.0, 0.5], [0.75, 1.0]])
    brightness = scale_map(values, 2).astype(int).sum(2)
    assert (np.diff(brightness.ravel()) > 0).all()
    np.testing.assert_array_equal(scale_map(values, 2, (0, 0.5))[1], scale_map(values, 2)[1, 1:].repeat(2, 0))
    assert scale_map(np.full((2, 2), 3.0), 4).shape == (4, 4, 3)


def test_the_mean_is_white_with_red_above_it():
    low, middle, high = middle_map(np.array([[-1.0, 0.0, 1.0]]), 3)[0].astype(int)
    assert middle.tolist() == [255, 255, 255]
    assert high[0] > high[2] and low[2] > low[0]
    assert (middle_map(np.zeros((2, 2)), 2) == 255).all()


def test_patches_become_squares():
    np.testing.assert_array_equal(enlarge(np.array([[1, 2]]), 4), [[1, 1, 2, 2]] * 4)
    assert enlarge(np.ones((3, 5, 6), bool), 12).shape == (3, 12, 12)
    assert enlarge(np.ones((0, 5, 6), bool), 12).shape == (0, 12, 12)
    assert enlarge(np.ones((5, 6, 3), np.uint8), 12).shape == (12, 12, 3)
