"""Where crops lie, and what is in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import resize

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.saliency import crop_and_enlarge, draw_corners


def test_uniform_crops_reach_every_place_on_the_grid():
    corners = draw_corners(4000, (32, 48), 0.5, np.random.default_rng(0), mode="uniform", step=8)
    assert set(map(tuple, corners.tolist())) == {(y, x) for y in (0, 8, 16) for x in (0, 8, 16, 24)}


def test_the_released_crop_has_one_row_and_twenty_columns():
    corners = draw_corners(500, (320, 320), 0.5, np.random.default_rng(0), mode="released", step=8)
    assert set(corners[:, 0].tolist()) == {80} and set(corners[:, 1].tolist()) == set(range(10, 30))


def test_a_crop_is_cut_out_and_enlarged_bilinearly():
    maps = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    corners = np.array([[0, 12], [5, 3]])
    enlarged = crop_and_enlarge(maps, corners, 0.5)
    for one, whole, (row, column) in zip(enlarged, maps, corners):
        expected = resize(whole[:, row : row + 8, column : column + 12], [16, 24], antialias=False)
        torch.testing.assert_close(one, expected)


def test_a_fraction_that_leaves_no_crop_is_refused():
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        draw_corners(1, (16, 16), 0.0, np.random.default_rng(0), mode="uniform")
    with pytest.raises(UnsegError, match=r"SALIENCY\.MULTI_SCALE\.CROP .* must be one of 'uniform', 'released'"):
        load_cfg(None, ["SALIENCY.MULTI_SCALE.CROP", "middle"])
