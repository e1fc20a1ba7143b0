from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.refine import gaussian
from unseg_d2.refine.gaussian import GaussianKernel, convolve, filter_planes


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0, 3.0])
def test_equals_all_pairs(sigma):  # kernels narrower and wider than the image
    values, (y, x) = torch.rand(2, 9, 13, 3), np.mgrid[:9, :13].reshape(2, -1).astype(float)
    kernel = np.exp(-0.5 * ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2) / sigma**2)
    norm = kernel.sum(1) ** -0.5
    expected = 7 * np.einsum("ij,bjc->bic", norm[:, None] * kernel * norm, values.reshape(2, -1, 3).numpy())
    ours = GaussianKernel.build(9, 13, sigma, 7.0, torch.device("cpu")).filter_(values.clone())
    np.testing.assert_allclose(ours.reshape(2, -1, 3), expected, atol=3e-3)  # the truncated tails


@pytest.mark.parametrize("channels", [1, 3, 150])
def test_convolutions_give_the_same(channels):
    values, taps = torch.rand(2, 8, 11, channels), torch.tensor([0.2, 1.0, 0.4, 0.3, 0.1])
    torch.testing.assert_close(filter_planes(values, taps), convolve(values, taps))


@pytest.mark.parametrize("channels", [1, 3, 150])
def test_threads_change_nothing(channels, monkeypatch):
    monkeypatch.setattr(gaussian, "LEAST_ROWS", 4)
    values, taps = torch.rand(2, 13, 7, channels), torch.tensor([0.2, 1.0, 0.4, 0.3, 0.1])
    expected, before = filter_planes(values, taps), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch.equal(filter_planes(values, taps), expected)
    finally:
        torch.set_num_threads(before)
