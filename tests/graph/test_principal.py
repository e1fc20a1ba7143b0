from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.graph.principal import gram, leading_eigenpair, leading_of_rows


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


@pytest.mark.parametrize("width", [5, 130])
def test_the_direction_of_samples_is_that_of_their_scatter(width: int) -> None:
    rows = torch.randn(200, width, dtype=torch.float64) + 3 * torch.randn(width, dtype=torch.float64)
    rows[:, 0] *= 4
    centred = rows - rows.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    with_zeros = torch.cat([rows, torch.zeros(7, width, dtype=torch.float64)])
    value, vector = leading_of_rows(with_zeros, rows.sum(0), torch.tensor(200))
    torch.testing.assert_close(value, values[-1])
    torch.testing.assert_close((vector @ vectors[:, -1]).abs(), torch.tensor(1.0, dtype=torch.float64))


def test_samples_that_are_all_alike_have_no_scatter() -> None:
    rows = torch.ones(20, 130, dtype=torch.float64)
    value, vector = leading_of_rows(rows, rows.sum(0), torch.tensor(20))
    assert abs(value) < 1e-9 and torch.isfinite(vector).all()
