"""Graph total variation against loops over pixels, and against what the published code returned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from unseg_d2.losses import feature_weights, gtv_loss, image_weights
from unseg_d2.losses.gtv import CHANNELS_AT_A_TIME


def by_loops(mask, weight):
    """Mean over pixels and neighbours of ``weight(b, i, j) (s_i - s_j)^2``, the grid reflected beyond its border."""
    batch, _, height, width = mask.shape
    terms = []
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                for dy in (-1, 0, 1):
                    for dx in (-1, 0, 1):
                        if dy or dx:
                            j = reflected(y + dy, height), reflected(x + dx, width)
                            terms.append(weight(b, (y, x), j) * (mask[b, 0, y, x] - mask[b, 0, j[0], j[1]]) ** 2)
    return float(np.mean(terms))


def reflected(index, length):
    return -index if index < 0 else 2 * length - 2 - index if index >= length else index


@pytest.fixture
def mask():
    return torch.rand(2, 1, 3, 5, generator=torch.Generator().manual_seed(1))


def test_feature_weights_equal_loops(mask):
    channels = CHANNELS_AT_A_TIME + 3  # more than fits at a time
    tokens = torch.randn(2, channels, 3, 5, generator=torch.Generator().manual_seed(2)) + 0.4

    def weight(b, i, j):
        a, c = (tokens[b, :, y, x].double().numpy() for y, x in (i, j))
        return 1.0 if a @ c / np.linalg.norm(a) / np.linalg.norm(c) > 0.15 else 1e-2

    found = gtv_loss(mask, feature_weights(tokens, 0.15, 1e-2))
    assert found.item() == pytest.approx(by_loops(mask.numpy(), weight), rel=1e-5)


def test_image_weights_equal_loops(mask):
    image = torch.randn(2, 3, 3, 5, generator=torch.Generator().manual_seed(3))

    def weight(b, i, j):
        return math.exp(-sum((image[b, c, i[0], i[1]] - image[b, c, j[0], j[1]]).item() ** 2 for c in range(3)) / 0.7)

    found = gtv_loss(mask, image_weights(image, 0.7))
    assert found.item() == pytest.approx(by_loops(mask.numpy(), weight), rel=1e-5)


def test_a_constant_mask_costs_nothing_and_an_edge_costs_less_where_the_image_has_one():
    mask = torch.zeros(1, 1, 4, 6)
    mask[..., 3:] = 1
    flat, edge = torch.zeros(1, 3, 4, 6), 2 * mask.expand(1, 3, 4, 6)
    assert gtv_loss(torch.full_like(mask, 0.3), image_weights(flat, 1.0)).item() == 0
    ratio = gtv_loss(mask, image_weights(edge, 1.0)) / gtv_loss(mask, image_weights(flat, 1.0))
    assert ratio.item() == pytest.approx(math.exp(-12), rel=1e-4)


def test_masks_of_another_size_are_refused(mask):
    with pytest.raises(ValueError, match="do not fit weights"):
        gtv_loss(mask, torch.ones(2, 8, 3, 4))


@pytest.mark.parametrize("tau", [0.2, 0.4])
def test_golden_coarse(golden, tau):
    published = np.load(golden / "losses/tricks.npz")
    mask = torch.from_numpy(published["sp_coarse"]).requires_grad_()
    loss = gtv_loss(mask, feature_weights(torch.from_numpy(published["sp_features"]), tau, 1e-6))
    loss.backward()
    assert loss.item() == pytest.approx(float(published[f"loss_gtv_coarse_thr{tau}"]), rel=1e-5)
    gradient = published[f"grad_gtv_coarse_thr{tau}"]
    np.testing.assert_allclose(mask.grad.numpy(), gradient, rtol=1e-4, atol=1e-7)


def test_golden_fine(whole_golden):
    published = np.load(whole_golden / "losses/tricks.npz")
    mask = torch.from_numpy(published["sp_fine"]).requires_grad_()
    loss = gtv_loss(mask, image_weights(torch.from_numpy(published["sp_image"]), 1.0))
    loss.backward()
    assert loss.item() == pytest.approx(float(published["loss_gtv_fine"]), rel=1e-5)
    assert mask.grad.abs().sum().item() == pytest.approx(float(published["grad_gtv_fine_sum_abs"]), rel=1e-4)
