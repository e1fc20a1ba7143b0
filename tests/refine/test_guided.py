from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unseg_d2.refine.guided import guided_filter, guided_filter_batch
from unseg_d2.refine.guided_together import guided_filter_tensors


def _on_an_accelerator(guide, source, *, radius, eps):
    return guided_filter_tensors(guide, source[:, 0], radius=radius, eps=eps)[:, None]


def by_definition(guide: np.ndarray, source: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Window by window: a least-squares fit in each, averaged over the windows that cover a pixel."""
    channels, height, width = guide.shape
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = np.s_[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
            inputs, target = guide[(slice(None), *window)].reshape(channels, -1), source[window].ravel()
            covariance = np.cov(inputs, bias=True).reshape(channels, channels) + eps * np.eye(channels)
            cross = ((inputs - inputs.mean(1, keepdims=True)) * (target - target.mean())).mean(1)
            slope = np.linalg.solve(covariance, cross)
            fitted = np.einsum("c,chw->hw", slope, guide[(slice(None), *window)] - inputs.mean(1)[:, None, None])
            total[window] += fitted + target.mean()
            count[window] += 1
    return total / count


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("radius", "eps"), [(2, 1e-3), (5, 1e-1)])
def test_equals_the_definition(channels, radius, eps):
    rng = np.random.default_rng(0)
    guide, source = rng.random((channels, 14, 17)), rng.random((2, 14, 17))
    filtered = guided_filter(guide, source, radius=radius, eps=eps)
    for ours, plane in zip(filtered, source):
        np.testing.assert_allclose(ours, by_definition(guide, plane, radius, eps), atol=1e-10)


def test_float32_is_close_to_float64():
    rng = np.random.default_rng(0)
    guide, source = rng.random((3, 60, 70)), rng.random((1, 60, 70)) > 0.5
    exact = guided_filter(guide, source.astype(np.float64), radius=8, eps=1e-3)
    single = guided_filter(guide.astype(np.float32), source.astype(np.float32), radius=8, eps=1e-3)
    np.testing.assert_allclose(single, exact, atol=1e-4)


def test_a_constant_stays_and_the_filter_is_linear():
    rng = np.random.default_rng(0)
    guide, first, second = rng.random((3, 20, 30)), rng.random((1, 20, 30)), rng.random((1, 20, 30))

    def filtered(source: np.ndarray) -> np.ndarray:
        return guided_filter(guide, source, radius=4, eps=1e-2)

    np.testing.assert_allclose(filtered(np.full_like(first, 0.3)), 0.3, atol=1e-12)
    np.testing.assert_allclose(filtered(2 * first - second), 2 * filtered(first) - filtered(second), atol=1e-12)


def test_standardising_the_mask_before_and_undoing_it_after_changes_nothing():
    """The published code does so; the filter is linear and keeps constants."""
    rng = np.random.default_rng(0)
    guide, mask = rng.random((1, 40, 50)), (rng.random((1, 40, 50)) > 0.7).astype(float)
    mean, deviation = mask.mean(), mask.std()
    plain = guided_filter(guide, mask, radius=9, eps=1e-3)
    standardised = guided_filter(guide, (mask - mean) / deviation, radius=9, eps=1e-3) * deviation + mean
    np.testing.assert_allclose(plain, standardised, atol=1e-12)


def test_windows_are_truncated_in_the_corner():
    """With a flat guide the filter is the mean of means: by hand on 3 x 3 with windows of 3."""
    mask = np.zeros((1, 3, 3))
    mask[0, 0, 0] = 1.0
    filtered = guided_filter(np.full((1, 3, 3), 0.5), mask, radius=1, eps=1e-3)
    means = np.array([[1 / 4, 1 / 6, 0], [1 / 6, 1 / 9, 0], [0, 0, 0]])
    assert filtered[0, 0, 0] == pytest.approx(means[:2, :2].mean(), abs=1e-12)
    assert filtered[0, 1, 1] == pytest.approx(means.mean(), abs=1e-12)
    assert filtered[0, 2, 2] == pytest.approx(1 / 9 / 4, abs=1e-12)


@pytest.mark.parametrize("filter_batch", [guided_filter_batch, _on_an_accelerator])
def test_a_batch_equals_one_by_one(filter_batch):
    rng = np.random.default_rng(0)
    guide, source = (rng.random((3, 1, 40, 50)).astype(np.float32) for _ in range(2))
    filtered = filter_batch(torch.from_numpy(guide), torch.from_numpy(source), radius=9, eps=1e-3)
    expected = np.stack([guided_filter(one, two, radius=9, eps=1e-3) for one, two in zip(guide, source)])
    np.testing.assert_allclose(filtered.numpy(), expected, atol=2e-5)


def test_golden(golden: Path):
    published = np.load(golden / "losses" / "tricks.npz")
    settings = {"radius": int(published["gf_radius"]), "eps": float(published["gf_eps"])}
    for i, (image, source) in enumerate(zip(published["gf_image01"], published["gf_input"])):
        gray = image.mean(0, keepdims=True)
        exact = guided_filter(gray.astype(np.float64), source.astype(np.float64), **settings)
        np.testing.assert_allclose(exact, published["gf_gray_float64"][i], atol=1e-9)
        np.testing.assert_allclose(guided_filter(gray, source, **settings), published["gf_gray_plain"][i], atol=1e-4)
        standardised = published["gf_standardised_gray"][i]
        np.testing.assert_allclose(guided_filter(gray, source, **settings), standardised, atol=1e-4)
        np.testing.assert_allclose(guided_filter(image, source, **settings), published["gf_color_plain"][i], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_of_any_layout_and_of_any_support(channels):
    """Masks enlarged by fancy indexing lie in another order in memory; some touch the border or are one pixel."""
    rng = np.random.default_rng(0)
    guide, source = rng.random((channels, 17, 19)), np.zeros((5, 17, 19))
    for plane, window in zip(
        source, (np.s_[:, 18:], np.s_[16:, :], np.s_[8:9, 9:10], np.s_[2:5, 3:9])
    ):  # the last: none
        plane[window] = 1
    filtered = guided_filter(guide, source, radius=2, eps=1e-2)
    for ours, plane in zip(filtered, source):
        np.testing.assert_allclose(ours, by_definition(guide, plane, 2, 1e-2), atol=1e-10)
    for order in ((1, 2, 0), (2, 0, 1), (2, 1, 0)):
        moved = np.ascontiguousarray(source.transpose(order)).transpose(np.argsort(order))
        np.testing.assert_array_equal(guided_filter(guide, moved, radius=2, eps=1e-2), filtered)
        guide_moved = np.ascontiguousarray(guide.transpose(order)).transpose(np.argsort(order))
        np.testing.assert_array_equal(guided_filter(guide_moved, source, radius=2, eps=1e-2), filtered)


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_of_many_guides_at_once(channels):
    rng = np.random.default_rng(0)
    guides = rng.random((3, channels, 21, 26)).astype(np.float32)
    sources, guide_of = (rng.random((5, 21, 26)) > 0.5).astype(np.float32), [0, 0, 2, 1, 2]
    found = guided_filter_tensors(*map(torch.from_numpy, (guides, sources, np.array(guide_of))), radius=3, eps=1e-2)
    for ours, plane, guide in zip(found.numpy(), sources, guide_of):
        exact = by_definition(guides[guide].astype(np.float64), plane.astype(np.float64), 3, 1e-2)
        np.testing.assert_allclose(ours, exact, atol=2e-5)
