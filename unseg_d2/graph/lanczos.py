"""Largest eigenpair of symmetric operators, by Lanczos iteration on a batch.

Shape legend
    b      operators solved together
    n      size of each
    k      Lanczos steps
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RESIDUAL_FLOOR = 5e-14  # float64 gives no smaller residual for an operator of norm 1


@dataclass(frozen=True)
class RitzPairs:
    """Approximate eigenpairs of a batch.

    Attributes:
        values: ``(b,)`` float64.
        vectors: ``(b, n)`` float64, of norm 1.
        converged: ``(b,)`` bool, on the CPU.
    """

    values: Tensor
    vectors: Tensor
    converged: Tensor


def largest_eigenpair(
    operator: Callable[[Tensor], Tensor], start: Tensor, *, tolerance: float = 1e-10, max_steps: int = 256
) -> RitzPairs:
    """Return the eigenpair with the largest eigenvalue, by Lanczos with full reorthogonalisation.

    A pair counts as converged when the bound on its angle to the true eigenvector, residual over the gap to the next
    Ritz value, is below the tolerance (Parlett, The Symmetric Eigenvalue Problem, theorem 11.7.1).

    Args:
        operator: maps ``(b, n)`` float64 to ``(b, n)`` float64; symmetric, of norm about 1.
        start: ``(b, n)`` float64; components that a start vector lacks are never found, and a zero vector gives a zero
            vector with the value 0.
        tolerance: bound on the angle, radians.
        max_steps: steps before giving up; then ``converged`` is false.
    """
    b, n = start.shape
    max_steps = min(max_steps, n)
    basis = start.new_empty(b, max_steps, n)
    basis[:, 0] = start / start.norm(dim=1, keepdim=True).clamp_min(1e-300)
    diagonal, off_diagonal = np.zeros((b, max_steps)), np.zeros((b, max_steps))
    values, converged = np.zeros(b), np.zeros(b, dtype=bool)
    coefficients = np.zeros((b, max_steps))
    next_check = min(6, max_steps)
    for k in range(1, max_steps + 1):
        newest = basis[:, k - 1]
        residual = operator(newest)
        diagonal[:, k - 1] = (newest * residual).sum(1).cpu()
        residual = _orthogonalise(residual, basis[:, :k])
        length = residual.norm(dim=1, keepdim=True)
        off_diagonal[:, k - 1] = length[:, 0].cpu()
        if k == next_check:
            _update(values, coefficients, converged, diagonal[:, :k], off_diagonal[:, :k], tolerance)
            if converged.all() or k == max_steps:
                break
            next_check = min(max_steps, k + max(2, k // 8))
        # A vanishing residual means that the basis spans an invariant subspace: zero vectors add nothing to it.
        basis[:, k] = torch.where(length > RESIDUAL_FLOOR, residual / length, 0)
    weights = torch.from_numpy(coefficients[:, :k]).to(start)
    vectors = torch.einsum("bk,bkn->bn", weights, basis[:, :k])
    return RitzPairs(torch.from_numpy(values).to(start), vectors, torch.from_numpy(converged))


def _orthogonalise(vectors: Tensor, basis: Tensor) -> Tensor:
    """Remove from ``(b, n)`` vectors their components in ``(b, k, n)`` bases; twice is enough (Kahan)."""
    for _ in range(2):
        vectors = vectors - (basis.mT @ (basis @ vectors[:, :, None]))[:, :, 0]
    return vectors


def _update(
    values: np.ndarray,
    coefficients: np.ndarray,
    converged: np.ndarray,
    diagonal: np.ndarray,
    off_diagonal: np.ndarray,
    tolerance: float,
) -> None:
    """Recompute, in place, the leading Ritz pair of each tridiagonal matrix that has not converged yet."""
    k = diagonal.shape[1]
    for i in np.flatnonzero(~converged):
        beta = off_diagonal[i]
        # Steps after a breakdown belong to the zero vectors and are no part of the matrix.
        size = int(np.argmax(beta <= RESIDUAL_FLOOR)) + 1 if (beta <= RESIDUAL_FLOOR).any() else k
        matrix = np.diag(diagonal[i, :size]) + np.diag(beta[: size - 1], 1) + np.diag(beta[: size - 1], -1)
        ritz_values, ritz_vectors = np.linalg.eigh(matrix)
        gap = ritz_values[-1] - ritz_values[-2] if size > 1 else 1.0
        residual = beta[size - 1] * abs(ritz_vectors[-1, -1])
        values[i] = ritz_values[-1]
        coefficients[i, :size] = ritz_vectors[:, -1]
        converged[i] = residual <= max(tolerance * gap, RESIDUAL_FLOOR)
