"""Features pooled in masks, against loops over patches and numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.groups.pool import cell_coverage, pool_masks


def test_coverage_is_exact_whatever_the_sizes() -> None:
    """Each cell and each pixel is cut into equal tiles, which are counted."""
    rng = np.random.default_rng(0)
    masks = rng.random((3, 5, 7)) > 0.5
    fine = masks.repeat(6, 1).repeat(4, 2)  # 30 x 28
    expected = fine.reshape(3, 3, 10, 4, 7).mean((2, 4))  # 3 rows of 10, 4 columns of 7
    assert np.allclose(cell_coverage(masks, (3, 4)), expected)


def test_padding_at_the_right_and_bottom_is_covered_by_nothing() -> None:
    full = np.ones((1, 4, 6), bool)
    covered = cell_coverage(full, (4, 4), (0.5, 0.75))
    assert np.allclose(covered[0], [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


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
