"""Largest eigenpair of symmetric operators, by Lanczos iteration on a batch.

Shape legend
    b      operators solved together
    n      size of each
    d      known eigenvectors
    k      Lanczos steps
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unseg_d2.transfer import to_card, to_host

RESIDUAL_FLOOR = 5e-14  # float64 gives no smaller residual for an operator of norm 1
FIRST_CHECK = {"cpu": 6, "cuda": 16}  # steps; on a card each check waits for all steps before it
LATER_CHECKS = {"cpu": 1 / 8, "cuda": 1 / 2}  # share of the steps so far until the next check, at least two steps


@dataclass(frozen=True)
class RitzPairs:
    """Approximate eigenpairs of a batch.

    Attributes:
        values: ``(b,)`` float64.
        vectors: ``(b, n)`` float64, of norm 1.
        converged: ``(b,)`` bool, on the CPU.
        finite: ``(b,)`` bool, on the CPU: false where the operator gave NaN or infinite numbers.
    """

    values: Tensor
    vectors: Tensor
    converged: Tensor
    finite: Tensor


def largest_eigenpair(
    operator: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    known: Tensor | None = None,
    tolerance: float = 1e-10,
    max_steps: int = 256,
) -> RitzPairs:
    """Return the eigenpair with the largest eigenvalue, by Lanczos with full reorthogonalisation.

    A pair counts as converged when the bound on its angle to the true eigenvector, residual over the gap to the next
    Ritz value, is below the tolerance (Parlett, The Symmetric Eigenvalue Problem, theorem 11.7.1). Each pair is the one
    of the first check at which it has converged, whatever the rest of the batch does.

    Args:
        operator: maps ``(b, n)`` float64 to ``(b, n)`` float64; symmetric, of norm about 1.
        start: ``(b, n)`` float64; components that a start vector lacks are never found, and a zero vector gives a zero
            vector with the value 0.
        known: ``(b, d, n)`` orthonormal eigenvectors that are left out; the start vector has no component along them.
        tolerance: bound on the angle, radians.
        max_steps: steps before giving up; then ``converged`` is false.
    """
    b, n = start.shape
    max_steps = min(max_steps, n)
    krylov = Krylov(operator, start, max_steps, known)
    values, converged, finite = np.zeros(b), np.zeros(b, dtype=bool), np.ones(b, dtype=bool)
    coefficients = np.zeros((b, max_steps))
    for k in _checks(max_steps, start.device.type):
        diagonal, off_diagonal = np.split(to_host(krylov.tridiagonal(k))[0].numpy(), 2, axis=1)
        finite = np.isfinite(diagonal).all(1) & np.isfinite(off_diagonal).all(1)
        _update(values, coefficients, converged, finite, diagonal, off_diagonal, tolerance)
        if (converged | ~finite).all():
            break
    weights, eigenvalues = (to_card(torch.from_numpy(part), start.device) for part in (coefficients[:, :k], values))
    return RitzPairs(
        eigenvalues, krylov.combine(weights), torch.from_numpy(converged & finite), torch.from_numpy(finite)
    )


def _checks(max_steps: int, device: str) -> Iterator[int]:
    """Steps after which convergence is tested."""
    kind = device if device in FIRST_CHECK else "cuda"
    k = min(FIRST_CHECK[kind], max_steps)
    while k < max_steps:
        yield k
        k = min(max_steps, k + max(2, int(k * LATER_CHECKS[kind])))
    yield k


class Krylov:
    """The Lanczos iteration of a batch, whose steps do not wait for their device.

    Args:
        operator, start, known: see :func:`largest_eigenpair`.
        max_steps: as many steps as :meth:`tridiagonal` may be asked for.
    """

    def __init__(
        self, operator: Callable[[Tensor], Tensor], start: Tensor, max_steps: int, known: Tensor | None = None
    ) -> None:
        self.operator = operator
        self.skipped = 0 if known is None else known.shape[1]
        self.basis = start.new_empty(start.shape[0], self.skipped + max_steps, start.shape[1])
        if known is not None:
            self.basis[:, : self.skipped] = known
        self.diagonal: list[Tensor] = []
        self.lengths: list[Tensor] = []
        self._append(start, start.norm(dim=1, keepdim=True))

    def tridiagonal(self, k: int) -> Tensor:
        """Continue up to k steps and return the diagonal and, behind it, what stands beside the diagonal: ``(b, 2k)``.

        The last column is the length of the residual. Where a length is about 0 the basis spans an invariant subspace,
        and entries behind it mean nothing.
        """
        while len(self.diagonal) < k:
            self._step()
        return torch.cat(self.diagonal[:k] + self.lengths[:k], 1)

    def combine(self, weights: Tensor) -> Tensor:
        """Return sums of the basis vectors with weights ``(b, k)``, ``(b, n)``."""
        basis = self.basis[:, self.skipped : self.skipped + weights.shape[1]]
        return (weights[:, None] @ basis)[:, 0]

    def _step(self) -> None:
        basis = self.basis[:, : self.skipped + len(self.diagonal) + 1]
        residual = self.operator(basis[:, -1])[:, :, None]
        for repeat in range(2):  # twice is enough (Kahan)
            components = basis @ residual
            if repeat == 0:
                self.diagonal.append(components[:, -1])
            residual = torch.baddbmm(residual, basis.mT, components, alpha=-1)
        self.lengths.append(torch.linalg.vector_norm(residual, dim=1))
        if self.skipped + len(self.diagonal) < self.basis.shape[1]:
            self._append(residual[:, :, 0], self.lengths[-1])

    def _append(self, vector: Tensor, length: Tensor) -> None:
        torch.div(vector, length.clamp_min(1e-300), out=self.basis[:, self.skipped + len(self.diagonal)])


def _update(
    values: np.ndarray,
    coefficients: np.ndarray,
    converged: np.ndarray,
    finite: np.ndarray,
    diagonal: np.ndarray,
    off_diagonal: np.ndarray,
    tolerance: float,
) -> None:
    """Recompute, in place, the leading Ritz pair of each finite tridiagonal matrix that has not converged yet."""
    k = diagonal.shape[1]
    for i in np.flatnonzero(finite & ~converged):
        beta = off_diagonal[i]
        # Steps after a breakdown belong to vectors of rounding and are no part of the matrix.
        size = int(np.argmax(beta <= RESIDUAL_FLOOR)) + 1 if (beta <= RESIDUAL_FLOOR).any() else k
        matrix = np.diag(diagonal[i, :size]) + np.diag(beta[: size - 1], 1) + np.diag(beta[: size - 1], -1)
        ritz_values, ritz_vectors = np.linalg.eigh(matrix)
        gap = ritz_values[-1] - ritz_values[-2] if size > 1 else 1.0
        residual = beta[size - 1] * abs(ritz_vectors[-1, -1])
        values[i] = ritz_values[-1]
        coefficients[i, :size] = ritz_vectors[:, -1]
        converged[i] = residual <= max(tolerance * gap, RESIDUAL_FLOOR)
