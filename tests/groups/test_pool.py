"""Features pooled in masks, against loops over patches and numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.groups.pool import pool_masks


def test_a_mask_is_the_mean_direction_of_the_patches_that_it_has() -> None:
    tokens = torch.tensor([[[3.0, 0.0], [0.0, 7.0]], [[0.0, 2.0], [5.0, 0.0]]])  # along x, y, y, x
    masks = np.zeros((3, 4, 4), bool)
    masks[0, :2, :3] = True  # all of patch (0, 0) and half of (0, 1)
    masks[1, 0, 0] = True  # a quarter of (0, 0), and no patch by half
    found = pool_masks(tokens, masks)
    assert np.allclose(found[0], np.array([1.0, 0.5]) / np.sqrt(1.25))
    assert np.allclose(found[1], [1, 0])
    assert np.isnan(found[2]).all()  # without pixels
    assert found.dtype == np.float32


def test_patches_with_less_than_half_stay_out_where_there_are_others() -> None:
    tokens = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    mask = np.zeros((1, 10, 20), bool)
    mask[0, :, :14] = True  # 100 % and 40 %
    assert np.allclose(pool_masks(tokens, mask), [[1, 0]])
    mask[0, :, :15] = True
    assert pool_masks(tokens, mask)[0] == pytest.approx(np.array([1, 0.5]) / np.sqrt(1.25))
