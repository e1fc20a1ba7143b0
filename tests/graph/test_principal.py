from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.graph.principal import gram, leading_eigenpair, leading_of_rows, leading_unwatched


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


@pytest.mark.parametrize("size", [1, 5, 39, 200])
def test_what_is_not_watched_gives_the_same_pairs(size: int) -> None:
    samples = torch.randn(3, 3 * size, size, dtype=torch.float64) * torch.linspace(1, 3, size).double() ** 4
    matrices = samples.mT @ samples
    values, vectors, converged = leading_unwatched(matrices)
    exact, basis = torch.linalg.eigh(matrices)
    assert converged.all()
    torch.testing.assert_close(values, exact[:, -1], rtol=1e-9, atol=0)
    torch.testing.assert_close((vectors * basis[:, :, -1]).sum(1).abs(), torch.ones(3, dtype=torch.float64))


def test_eigenvalues_too_close_together_are_not_called_converged() -> None:
    basis = torch.linalg.qr(torch.randn(200, 200, dtype=torch.float64))[0]
    spectrum = torch.linspace(0, 1, 200, dtype=torch.float64)
    close, apart = spectrum.clone(), spectrum / 2
    close[-2], apart[-1] = 1 - 1e-5, 1
    matrices = torch.stack([(basis * values) @ basis.T for values in (close, apart)])
    assert leading_unwatched(matrices)[2].tolist() == [False, True]


def test_a_zero_matrix_has_no_direction() -> None:
    values, vectors, converged = leading_unwatched(torch.zeros(1, 130, 130, dtype=torch.float64))
    assert values.item() == 0 and not vectors.any() and converged.all()
