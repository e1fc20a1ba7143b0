"""Features of masks from patches."""

from __future__ import annotations

import numpy as np

from unseg_d2.tracks.pooled import pooled_features


def test_a_patch_counts_as_much_as_the_mask_and_the_frame_cover_of_it() -> None:
    """Of 2 x 2 patches of 4 px the image shows 6 x 6 px: all of one, half of two, a quarter of the last."""
    tokens = np.zeros((3, 2, 2), np.float32)
    tokens[0, 0, 0] = tokens[1, 0, 1] = tokens[2, 1, 0] = tokens[2, 1, 1] = 2  # three kinds
    frame = np.array([1.0, 0.5, 0.5 + 0.25]) / 2.25
    masks = np.zeros((2, 6, 6), bool)
    masks[0, :3, 2:6] = True  # two columns of the first patch and two of the second, three rows of either
    expected = np.array([0.5, 0.5, 0.0]) - frame
    found = pooled_features(tokens, masks, (0.75, 0.75))
    np.testing.assert_allclose(found[0], expected / np.linalg.norm(expected), atol=1e-6)
    assert not found[1].any()  # without pixels


def test_a_mask_on_a_grid_that_is_finer_than_its_pixels_has_features() -> None:
    """9 x 9 patches on 4 x 4 px: the last pixel covers the last 2.25 rows and columns of patches."""
    tokens = np.random.default_rng(0).random((3, 9, 9)).astype(np.float32)
    masks = np.zeros((1, 4, 4), bool)
    masks[0, 3, 3] = True
    unit = tokens / np.linalg.norm(tokens, axis=0)
    along = np.array([0.25, 1, 1])
    weights = along[:, None] * along
    expected = (unit[:, 6:, 6:] * weights).sum((1, 2)) / weights.sum() - unit.mean((1, 2))
    found = pooled_features(tokens, masks, (1.0, 1.0))
    np.testing.assert_allclose(found[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_masks_on_patches_of_one_kind_are_alike_and_differ_from_others() -> None:
    tokens = np.zeros((3, 2, 4), np.float32)
    tokens[0] = 5  # common to all patches
    tokens[1, :, :2], tokens[2, :, 2:] = 2, 7
    masks = np.zeros((4, 8, 16), bool)
    masks[0, :4, :8], masks[1, 4:, :4], masks[2, :, 8:] = True, True, True
    found = pooled_features(tokens, masks, (1.0, 1.0))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0], atol=1e-6)
    assert found[0] @ found[1] > 0.99 and found[0] @ found[2] < -0.9
