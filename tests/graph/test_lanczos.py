"""The largest eigenpair against NumPy's dense solver."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.graph import lanczos
from unseg_d2.graph.lanczos import Krylov, largest_eigenpair


def symmetric(values: np.ndarray, seed: int) -> torch.Tensor:
    """A matrix with these eigenvalues, ``(1, n, n)``."""
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))[0]
    return torch.from_numpy((basis * values) @ basis.T)[None]


def start(matrices: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(matrices.shape[:2], dtype=torch.float64, generator=generator)


def product(matrices: torch.Tensor):
    return lambda vectors: (matrices @ vectors[:, :, None])[:, :, 0]


SPECTRA = {
    "spread": np.linspace(-1, 0.9, 60),
    "close": np.append(np.linspace(-0.5, 0.8, 59), 0.8005),
    "negative": np.linspace(-1, -0.2, 40),
    "few values": np.repeat([0.1, 0.4, 0.9], [20, 20, 1]),
}


@pytest.mark.parametrize("first_check", [6, 16])
@pytest.mark.parametrize("name", SPECTRA)
def test_equals_the_dense_solver(name, first_check, monkeypatch):
    monkeypatch.setitem(lanczos.FIRST_CHECK, "cpu", first_check)
    matrix = symmetric(SPECTRA[name], 1)
    pairs = largest_eigenpair(product(matrix), start(matrix))
    values, vectors = np.linalg.eigh(matrix[0].numpy())
    assert pairs.converged.all() and pairs.finite.all()
    assert pairs.values.item() == pytest.approx(values[-1], abs=1e-12)
    assert abs(pairs.vectors[0].numpy() @ vectors[:, -1]) == pytest.approx(1, abs=1e-9)


def test_known_eigenvectors_are_left_out():
    matrix = symmetric(np.linspace(-1, 1, 50), 2)
    values, vectors = np.linalg.eigh(matrix[0].numpy())
    known = torch.from_numpy(vectors[:, -2:].T.copy())[None]
    vector = start(matrix)
    vector = vector - (known.mT @ (known @ vector[:, :, None]))[:, :, 0]
    pairs = largest_eigenpair(product(matrix), vector, known=known)
    assert pairs.values.item() == pytest.approx(values[-3], abs=1e-12)
    assert abs(pairs.vectors[0].numpy() @ vectors[:, -3]) == pytest.approx(1, abs=1e-9)


def test_each_pair_is_what_it_would_be_alone():
    matrices = torch.cat([symmetric(np.linspace(-1, top, 60), seed) for seed, top in enumerate((0.3, 0.9, 0.5))])
    matrices[1, :, 0] = matrices[1, 0] = 0
    together = largest_eigenpair(product(matrices), start(matrices))
    for i in range(3):
        alone = largest_eigenpair(product(matrices[[i]]), start(matrices)[[i]])
        torch.testing.assert_close(together.vectors[i], alone.vectors[0], rtol=0, atol=1e-13)


def test_numbers_that_are_not_finite_end_it_and_are_named():
    matrices = torch.cat([symmetric(np.linspace(-1, 0.9, 30), 0)] * 2)
    matrices[1, 3, 4] = torch.nan
    pairs = largest_eigenpair(product(matrices), start(matrices))
    assert pairs.finite.tolist() == pairs.converged.tolist() == [True, False]


def test_a_zero_vector_gives_a_zero_vector():
    matrix = symmetric(np.linspace(-1, 0.9, 30), 0)
    pairs = largest_eigenpair(product(matrix), torch.zeros(1, 30, dtype=torch.float64))
    assert not pairs.vectors.any() and pairs.values.item() == 0 and pairs.converged.all()


def test_the_basis_is_orthonormal_and_the_small_matrix_its_projection():
    matrix = symmetric(np.linspace(-1, 0.9, 40), 3)
    krylov = Krylov(product(matrix), start(matrix), 20)
    diagonal, beside = krylov.tridiagonal(20).chunk(2, 1)
    basis = torch.stack([krylov.combine(row[None]) for row in torch.eye(20, dtype=torch.float64)])[:, 0]
    torch.testing.assert_close(basis @ basis.T, torch.eye(20, dtype=torch.float64), rtol=0, atol=1e-13)
    small = torch.diag(diagonal[0]) + torch.diag(beside[0, :-1], 1) + torch.diag(beside[0, :-1], -1)
    torch.testing.assert_close(basis @ matrix[0] @ basis.T, small, rtol=0, atol=1e-13)
