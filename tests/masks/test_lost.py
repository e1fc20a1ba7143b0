from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from unseg_d2.masks import LOSTSettings
from unseg_d2.masks.lost import lost


def by_the_book(tokens: np.ndarray, k: int) -> np.ndarray:
    """The equations of the paper, one patch at a time, for ``(C, h, w)`` features."""
    channels, h, w = tokens.shape
    features = tokens.reshape(channels, -1).T.astype(np.float64)
    n = len(features)
    degree = [sum(features[p] @ features[q] >= 0 for q in range(n)) for p in range(n)]
    order = sorted(range(n), key=lambda p: degree[p])
    seed = order[0]
    seeds = [q for q in order[:k] if features[q] @ features[seed] >= 0]
    mask = np.array([sum(features[q] @ features[s] for s in seeds) >= 0 for q in range(n)]).reshape(h, w)
    labels, _ = ndimage.label(mask)
    return (labels == labels.flat[seed]) & mask


def test_by_hand():
    """Patch 2 is the seed. Of the three lowest degrees, patches 2, 0 and 3, only 3 is like it and joins it.

    Together they pull in patch 1, which is unlike the seed alone.
    """
    tokens = torch.tensor([[2.0, 2, -1, -1, 1, 2], [0.0, 1, 1, 3, 1, -1]]).view(1, 2, 1, 6)
    gram = tokens[0, :, 0].T @ tokens[0, :, 0]
    assert (gram >= 0).sum(1).tolist() == [4, 5, 3, 4, 6, 4]
    (proposals,) = lost(tokens, LOSTSettings(max_seeds=3))
    assert proposals.masks[0].tolist() == [[False, True, True, True, True, False]]
    assert proposals.scores.tolist() == [0.5]
    (alone,) = lost(tokens, LOSTSettings(max_seeds=1))
    assert alone.masks[0].tolist() == [[False, False, True, True, True, False]]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_equals_the_equations_one_patch_at_a_time(seed, k):
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.standard_normal((1, 4, 3, 3))).float()
    tokens = torch.nn.functional.interpolate(coarse, size=(7, 10), mode="bilinear")
    tokens += 0.2 * torch.from_numpy(rng.standard_normal(tokens.shape)).float()
    (proposals,) = lost(tokens, LOSTSettings(max_seeds=k))
    np.testing.assert_array_equal(proposals.masks[0].numpy(), by_the_book(tokens[0].numpy(), k))


def test_the_object_is_what_is_unlike_the_rest():
    tokens = torch.full((1, 3, 12, 15), 1.0)
    tokens[:, :2, 3:7, 4:9] = -1.0
    expected = torch.zeros(12, 15, dtype=torch.bool)
    expected[3:7, 4:9] = True
    (proposals,) = lost(tokens)
    assert torch.equal(proposals.masks[0], expected)
    assert proposals.scores[0] == pytest.approx(1 - 20 / 180)


def test_features_without_negative_entries_need_their_mean_subtracted():
    tokens = torch.full((1, 3, 12, 15), 0.2)
    tokens[:, :2, 3:7, 4:9] = 1.0
    assert len(lost(tokens)[0]) == 0
    assert lost(tokens, LOSTSettings(center=True))[0].masks.sum() == 20


def test_no_seeds():
    with pytest.raises(ValueError, match="max_seeds"):
        lost(torch.ones(1, 2, 3, 4), LOSTSettings(max_seeds=0))
