from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.masks.tokencut import TokenCutSettings, salient_cuts, tokencut


def scene(h: int = 16, w: int = 22) -> tuple[torch.Tensor, np.ndarray]:
    """Tokens ``(1, 6, h, w)`` of an object and, apart from it, a patch that looks the same; and the object's mask."""
    mask = np.zeros((h, w), dtype=bool)
    mask[3:9, 4:10] = True
    alike = mask.copy()
    alike[14, 18] = True
    tokens = torch.randn(1, 6, h, w, generator=torch.Generator().manual_seed(0)) * 0.02
    tokens[0, 0] += torch.from_numpy(~alike)
    tokens[0, 1] += torch.from_numpy(alike)
    return tokens, mask


def test_the_side_holds_all_that_is_alike_and_the_mask_its_connected_part():
    tokens, mask = scene()
    (cut,) = salient_cuts(tokens)
    assert cut.side.sum() == mask.sum() + 1
    assert cut.side[14, 18]
    np.testing.assert_array_equal(cut.mask, mask)
    assert mask.flat[cut.seed]
    assert 0.9 < cut.score < 1  # but for the one patch it is unlike all the rest


def test_the_eigenvector_is_large_on_the_object():
    for sign in (1, -1):  # of the features, which changes no cosine
        (cut,) = salient_cuts(sign * scene()[0])
        assert cut.eigenvector.argmax() == cut.seed
        assert cut.eigenvector[cut.side].min() > cut.eigenvector.mean() > cut.eigenvector[~cut.side].max()


def test_proposals_are_the_masks_of_the_cuts():
    tokens = torch.cat([scene()[0], torch.ones(1, 6, 16, 22)])
    cuts = salient_cuts(tokens)
    first, second = tokencut(tokens)
    np.testing.assert_array_equal(first.masks[0].numpy(), cuts[0].mask)
    assert first.scores[0] == pytest.approx(cuts[0].score)
    assert len(second) == 0
    assert not cuts[1].eigenvector.any()
    assert not cuts[1].mask.any()


def test_the_border_chooses_the_side_where_the_peak_is_in_the_background():
    """Of a frame and what it holds, the inside is the object; the peak takes the smaller of the two."""
    inside = np.zeros((14, 20), dtype=bool)
    inside[1:13, 1:19] = True
    for mask in (inside, ~inside):
        look = torch.zeros(1, 2, 14, 20)
        look[0, 0], look[0, 1] = torch.from_numpy(mask), torch.from_numpy(~mask)
        np.testing.assert_array_equal(salient_cuts(look)[0].side, ~inside)
        (cut,) = salient_cuts(look, TokenCutSettings(side="border"))
        np.testing.assert_array_equal(cut.mask, inside)
        assert cut.eigenvector[cut.side].min() > cut.eigenvector.mean() > cut.eigenvector[~cut.side].max()


def test_the_union_chooses_the_side():
    look = torch.zeros(1, 2, 10, 12)
    look[0, 0, :, :5], look[0, 1, :, 5:] = 1, 1
    right = np.zeros((10, 12), dtype=bool)
    right[:, 5:] = True
    settings = TokenCutSettings(side="union")
    for union in (right, ~right):
        (cut,) = salient_cuts(look, settings, [union])
        np.testing.assert_array_equal(cut.mask, union)
        assert cut.eigenvector[cut.side].min() > cut.eigenvector.mean() > cut.eigenvector[~cut.side].max()
        np.testing.assert_array_equal(tokencut(look, settings, [union])[0].masks[0].numpy(), union)
    with pytest.raises(ValueError, match="no effect"):
        tokencut(look, TokenCutSettings(), [right])


def test_a_union_of_the_image_itself():
    """The object and the patch that is like it are opposite to the rest."""
    tokens, mask = scene()
    opposite = tokens.clone()
    opposite[0, 0] -= opposite[0, 1]
    (cut,) = salient_cuts(opposite, TokenCutSettings(side="union"))
    np.testing.assert_array_equal(cut.mask, mask)
