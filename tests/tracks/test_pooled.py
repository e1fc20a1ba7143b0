"""Features of masks from patches."""

from __future__ import annotations

import numpy as np

from unseg_d2.tracks.pooled import patch_weights, pooled_features


def test_the_share_of_each_patch_that_a_mask_covers() -> None:
    mask = np.zeros((8, 12), bool)
    mask[:6, :4] = True  # patches of 4 px: one whole, and half of the one below
    np.testing.assert_allclose(patch_weights(mask, (2, 3), (1.0, 1.0)), [[1, 0, 0], [0.5, 0, 0]])
    padded = patch_weights(mask, (3, 4), (2 / 3, 3 / 4))  # a row and a column of patches are padding
    np.testing.assert_allclose(padded[:2, :3], [[1, 0, 0], [0.5, 0, 0]])
    assert not padded[2].any() and not padded[:, 3].any()


def test_masks_on_patches_of_one_kind_are_alike_and_differ_from_others() -> None:
    tokens = np.zeros((3, 2, 4), np.float32)
    tokens[0] = 5  # common to all patches
    tokens[1, :, :2], tokens[2, :, 2:] = 2, 7
    masks = np.zeros((4, 8, 16), bool)
    masks[0, :4, :8], masks[1, 4:, :4], masks[2, :, 8:] = True, True, True
    found = pooled_features(tokens, masks, (1.0, 1.0))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0], atol=1e-6)
    assert found[0] @ found[1] > 0.99 and found[0] @ found[2] < -0.9
