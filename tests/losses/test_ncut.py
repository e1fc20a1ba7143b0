"""The normalised cut against its definition, and against what the published code returned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.losses import binary_graph, ncut_loss


def by_definition(mask, tokens, tau, eps):
    """Equations 1 and 4, edge by edge, with membership in place of the two sets."""
    total = 0.0
    for one, features in zip(mask.reshape(len(mask), -1).tolist(), tokens.flatten(2).transpose(1, 2).numpy()):
        n = len(one)
        weight = np.empty((n, n))
        for i in range(n):
            for j in range(n):
                cosine = features[i] @ features[j] / np.linalg.norm(features[i]) / np.linalg.norm(features[j])
                weight[i, j] = 1.0 if cosine > tau else eps
        cut = sum(one[i] * (1 - one[j]) * weight[i, j] for i in range(n) for j in range(n))
        inside = sum(one[i] * weight[i].sum() for i in range(n))
        outside = sum((1 - one[i]) * weight[i].sum() for i in range(n))
        total += cut / inside + cut / outside
    return total / len(mask)


def two_blocks(rows=4, columns=6):
    """Tokens of two orthogonal kinds, the left and the right half of the grid, and the mask of one of them."""
    mask = torch.zeros(1, 1, rows, columns)
    mask[..., : columns // 2] = 1
    return torch.cat([mask, 1 - mask], dim=1), mask


def test_equals_the_definition_on_a_grid_that_is_not_square():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 5, 3, 4, generator=generator)
    mask = torch.rand(2, 1, 3, 4, generator=generator)
    for tau in (0.0, 0.4):
        expected = by_definition(mask, tokens, tau, 1e-3)
        assert ncut_loss(mask, binary_graph(tokens, tau, 1e-3)).item() == pytest.approx(expected, rel=1e-5)


def test_a_cut_between_two_blocks_costs_nothing_and_one_half_everywhere_costs_one():
    tokens, mask = two_blocks()
    graph = binary_graph(tokens, 0.4, 1e-6)
    assert ncut_loss(mask, graph).item() < 1e-4
    assert ncut_loss(1 - mask, graph).item() == pytest.approx(ncut_loss(mask, graph).item())
    assert ncut_loss(torch.full_like(mask, 0.5), graph).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_masks_have_finite_loss_and_gradient(value):
    tokens, mask = two_blocks()
    mask = torch.full_like(mask, value, requires_grad=True)
    loss = ncut_loss(mask, binary_graph(tokens, 0.4, 1e-6))
    loss.backward()
    assert loss.item() == pytest.approx(1.0, abs=1e-3) and mask.grad.isfinite().all()


def test_a_mask_of_another_grid_is_refused():
    tokens, _ = two_blocks()
    with pytest.raises(ValueError, match=r"\(1, 1, 4, 5\) do not fit a graph of \(1, 24, 24\)"):
        ncut_loss(torch.zeros(1, 1, 4, 5), binary_graph(tokens, 0.4, 1e-6))


@pytest.mark.parametrize("tau", [0.2, 0.4])
def test_golden(golden, tau):
    published = np.load(golden / "losses/tricks.npz")
    mask = torch.from_numpy(published["sp_coarse"]).requires_grad_()
    loss = ncut_loss(mask, binary_graph(torch.from_numpy(published["sp_features"]), tau, 1e-6))
    loss.backward()
    assert loss.item() == pytest.approx(float(published[f"loss_ncut_thr{tau}"]), rel=1e-5)
    gradient = published[f"grad_ncut_thr{tau}_coarse"]
    np.testing.assert_allclose(mask.grad.numpy(), gradient, rtol=1e-4, atol=1e-4 * np.abs(gradient).max())
