from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from unseg_d2.masks.primaps import (
    PriMaPs,
    PriMaPsSettings,
    majority_filter,
    primaps,
    primaps_labels,
)
from unseg_d2.masks.primaps import search_together as search_module

DEFAULT, PARITY = PriMaPsSettings(), PriMaPsSettings(mode="parity")


def smooth_tokens(seed: int, channels: int = 12, h: int = 17, w: int = 23) -> torch.Tensor:
    """Tokens ``(1, C, h, w)`` of smooth regions, with noise."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.standard_normal((1, channels, 4, 5))).float()
    tokens = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bilinear")
    return tokens + 0.1 * torch.from_numpy(rng.standard_normal(tokens.shape)).float()


def by_the_book(tokens: np.ndarray, psi: float = 0.4) -> np.ndarray:
    """The label map ``(h, w)`` of ``(C, h, w)`` float64 tokens, one proposal and one patch at a time, by dense SVD."""
    _, h, w = tokens.shape
    unit = tokens / np.linalg.norm(tokens, axis=0)
    free = np.ones((h, w), dtype=bool)
    proposals = []
    while (~free).mean() < 0.95:
        samples = tokens[:, free].T
        direction = np.linalg.svd(samples - samples.mean(0))[2][0]
        cosine = np.einsum("c,chw->hw", direction, unit)
        if -cosine[free].min() > cosine[free].max():
            cosine = -cosine
        anchor = max(((cosine[y, x], -y, -x) for y, x in zip(*np.nonzero(free))))
        cosine = np.einsum("c,chw->hw", unit[:, -anchor[1], -anchor[2]], unit)
        proposals.append(free & (cosine >= psi * cosine[free].max()))
        free &= ~proposals[-1]
    # The 3x3 median of a binary mask; SciPy's "mirror" is the reflection without the border itself.
    smooth = [ndimage.median_filter(mask.astype(int), 3, mode="mirror") for mask in proposals]
    return sum((k + 1) * mask for k, mask in enumerate(smooth))


class TestByHand:
    def tokens(self) -> torch.Tensor:
        """Four orthogonal stripes of different size and length: a majority vote leaves them as they are."""
        tokens = torch.zeros(1, 4, 9, 12)
        tokens[0, 0, :, :5], tokens[0, 1, :, 5:8], tokens[0, 2, :, 8:10], tokens[0, 3, :, 10:] = 1, 2, 3, 1
        return tokens

    @pytest.mark.parametrize("mode", ["default", "parity"])
    def test_orthogonal_regions(self, mode):
        (proposals,) = primaps(self.tokens(), PriMaPsSettings(mode=mode))
        regions = self.tokens()[0] > 0
        assert {mask.numpy().tobytes() for mask in proposals.masks} == {mask.numpy().tobytes() for mask in regions}
        torch.testing.assert_close(proposals.scores, torch.ones(4))

    def test_scores_are_mean_cosines(self):
        """Cosines to the anchor (1, 0), the longest by far: 1 and 0.8; the second region holds (0, 1) alone."""
        tokens = torch.tensor([[9.0, 0.8, 0.0], [0.0, 0.6, 1.0]]).repeat_interleave(3, 1).view(1, 2, 1, 9)
        (image,) = primaps_labels(tokens.expand(-1, -1, 3, -1), PriMaPsSettings(psi=0.7))
        assert image.labels.tolist() == [[1] * 6 + [2] * 3] * 3
        np.testing.assert_allclose(image.scores, [0.9, 1.0], atol=1e-6)

    def test_one_proposal(self):
        """All patches are within psi of the anchor: K is 1 and nothing is background."""
        tokens = torch.ones(1, 3, 6, 7)
        tokens[0, 0] += torch.linspace(0, 0.5, 7)
        (image,) = primaps_labels(tokens, PARITY)
        assert (image.labels == 1).all()
        assert image.channels.shape == (2, 6, 7)
        assert image.channels[1].min() == 1 and image.channels[0].max() == 0

    def test_patches_without_a_feature_stay_free(self):
        tokens = self.tokens()
        tokens[0, :, :3, :3] = 0
        (image,) = primaps_labels(tokens, DEFAULT)
        assert (image.labels[:2, :2] == 0).all()
        assert len(image.scores) == 4


@pytest.mark.parametrize("settings", [DEFAULT, PARITY], ids=lambda settings: settings.mode)
@pytest.mark.parametrize("channels", [12, 130])  # a dense and an iterative eigensolver
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_steps_one_at_a_time(seed, channels, settings):
    tokens = smooth_tokens(seed, channels)
    (image,) = primaps_labels(tokens, settings)
    expected = by_the_book(tokens[0].double().numpy())
    if settings.mode == "default":  # numbers without gaps
        expected = np.searchsorted(np.unique(np.append(expected, 0)), expected)
    np.testing.assert_array_equal(image.labels, expected)


def test_a_batch_is_its_images():
    """Alone, an image drops the patches that are taken; in a batch it masks them."""
    tokens = torch.cat([smooth_tokens(0), smooth_tokens(1), torch.ones(1, 12, 17, 23), smooth_tokens(2)])
    for image, together in zip(tokens, primaps_labels(tokens, DEFAULT)):
        (alone,) = primaps_labels(image[None], DEFAULT)
        np.testing.assert_array_equal(alone.labels, together.labels)
        np.testing.assert_allclose(alone.scores, together.scores, atol=1e-12)


def test_directions_that_have_not_converged_are_found_once_more(monkeypatch):
    tokens = torch.cat([smooth_tokens(0), smooth_tokens(1)])
    expected = primaps_labels(tokens, DEFAULT)

    def wrong(matrices):
        return torch.ones(2), torch.ones(matrices.shape[:2], dtype=torch.float64), torch.zeros(2, dtype=torch.bool)

    monkeypatch.setattr(search_module, "leading_unwatched", wrong)
    for ours, theirs in zip(primaps_labels(tokens, DEFAULT), expected):
        np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_the_limit_ends_the_search():
    tokens = smooth_tokens(0)
    (all_labels,) = primaps_labels(tokens, DEFAULT)
    (two,) = primaps_labels(tokens, PriMaPsSettings(max_masks=2))
    assert len(all_labels.scores) > 2 == len(two.scores)
    np.testing.assert_array_equal(two.labels, np.where(all_labels.labels <= 2, all_labels.labels, 0))
    (published,) = primaps_labels(tokens, PriMaPsSettings(mode="parity", max_masks=2))
    assert len(published.scores) > 2


@pytest.mark.parametrize("mode", ["default", "parity"])
def test_a_random_sign_is_one_of_two_and_follows_the_seed(mode):
    settings, maps = PriMaPsSettings(mode=mode, sign="random"), set()
    for seed in range(8):
        labels = []
        for _ in range(2):
            torch.manual_seed(seed)
            labels.append(primaps_labels(smooth_tokens(3), settings)[0].labels)
        np.testing.assert_array_equal(*labels)
        maps.add(labels[0].tobytes())
    assert len(maps) > 1


class TestMajorityFilter:
    @pytest.mark.parametrize("shape", [(7, 9), (2, 5), (1, 8), (1, 1)])
    def test_is_the_median_of_each_label(self, shape):
        labels = np.random.default_rng(0).integers(0, 3, shape)
        found = majority_filter(labels, 2)
        for label in (1, 2):
            votes = np.pad((labels == label).astype(int), 1, mode="reflect")
            windows = np.lib.stride_tricks.sliding_window_view(votes, (3, 3)).reshape(*shape, 9)
            np.testing.assert_array_equal(found == label, np.median(windows, -1) == 1)


@pytest.mark.parametrize("setting", [{"mode": "x"}, {"sign": "x"}, {"psi": 0.0}, {"coverage": 1.5}, {"max_masks": -1}])
def test_settings_out_of_range_are_named(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        PriMaPs(PriMaPsSettings(**setting))


def test_golden(golden: Path, image: int):
    """Outputs of the published code, with the sign rule that is ours."""
    tokens = torch.from_numpy(np.load(golden / "features.npz")["features"][[image]].astype(np.float32))
    published = np.load(golden / "primaps.npz")
    for settings in (PARITY, DEFAULT):
        (found,) = primaps_labels(tokens, settings)
        assert len(found.scores) == published["canon_K"][image]
        np.testing.assert_array_equal(found.labels, published["canon_labels60"][image])


def quarters(h: int, w: int, noise: float = 0.0) -> tuple[torch.Tensor, np.ndarray]:
    """Features of four orthogonal kinds, one per quarter of the grid, and which quarter each patch is in."""
    index = 2 * (np.arange(h)[:, None] >= h // 2) + (np.arange(w)[None] >= w // 2)
    tokens = torch.eye(6)[torch.from_numpy(index)] * torch.tensor([4.0, 3.0, 2.0, 1.5, 0, 0]).sum()
    tokens = tokens + noise * torch.randn(h, w, 6, generator=torch.Generator().manual_seed(0))
    return tokens.permute(2, 0, 1)[None], index


@pytest.mark.parametrize("grid", [(12, 12), (8, 20)])
@pytest.mark.parametrize("sign", ["canonical", "random"])
def test_four_orthogonal_kinds_are_found_on_any_grid(grid: tuple[int, int], sign: str):
    tokens, index = quarters(*grid, noise=0.1)
    for features in (tokens, -tokens):
        masks = primaps(features, PriMaPsSettings(sign=sign))[0].masks.numpy()
        assert len(masks) == 4
        # The 3x3 vote rounds the corners in the middle, so a mask is nearly a quarter.
        for mask in masks:
            shares = np.bincount(index[mask], minlength=4) / mask.sum()
            assert shares.max() > 0.97 and mask.sum() > 0.8 * index.size / 4


def test_one_kind_with_noise_is_one_proposal():
    tokens = torch.ones(1, 6, 9, 7) + 0.01 * torch.randn(1, 6, 9, 7, generator=torch.Generator().manual_seed(1))
    masks = primaps(tokens)[0].masks
    assert masks.shape == (1, 9, 7) and masks.float().mean() > 0.9
