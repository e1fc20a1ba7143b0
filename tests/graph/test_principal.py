from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.graph.principal import gram, leading_eigenpair


@pytest.mark.parametrize("size", [1, 5, 96, 97, 200])
def test_leading_eigenpair(size):
    samples = torch.randn(2, 3 * size, size, dtype=torch.float64) * torch.linspace(1, 3, size).double() ** 2
    matrices = samples.transpose(1, 2) @ samples
    values, vectors = leading_eigenpair(matrices)
    exact, basis = np.linalg.eigh(matrices.numpy())
    np.testing.assert_allclose(values.numpy(), exact[:, -1], rtol=1e-9)
    cosines = np.abs((vectors.numpy() * basis[:, :, -1]).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-9)
    assert leading_eigenpair(torch.zeros(1, size, size, dtype=torch.float64))[0].tolist() == [0.0]


@pytest.mark.parametrize("shape", [(0, 3), (1, 4), (20, 7)])
def test_gram(shape):
    rows = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(gram(rows), rows.T @ rows)
