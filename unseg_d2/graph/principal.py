"""Principal directions: the leading eigenpair of covariance matrices, and the sums they are computed from.

Shape legend
    b      images
    C      feature channels
    m      samples
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg.blas import dsyrk
from scipy.sparse.linalg import ArpackError, eigsh
from torch import Tensor

from unseg_d2.graph.lanczos import Krylov, largest_eigenpair

MAX_DENSE = 96  # channels up to which a dense eigensolver is faster than iterations
UNWATCHED_STEPS = 40  # of Lanczos: enough where the second eigenvalue is at most nine tenths of the first
SQUARINGS = 14  # of the small matrix, for its leading eigenvector
GAP_SQUARINGS = 8  # of the rest of it, for a bound on the second eigenvalue that is less than 1 % too large
TOLERANCE = 1e-7  # bound on the angle between computed and true eigenvector, radians


def leading_eigenpair(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Largest eigenvalue ``(b,)`` and its vector ``(b, C)`` of ``(b, C, C)`` positive semidefinite matrices."""
    if matrices.shape[1] <= MAX_DENSE:
        values, vectors = torch.linalg.eigh(matrices)
        return values[:, -1], vectors[:, :, -1]
    start = torch.arange(1, matrices.shape[1] + 1, dtype=torch.float64, device=matrices.device).cos()
    if matrices.device.type == "cpu":
        pairs = [_arpack(matrix.numpy(), start.numpy()) for matrix in matrices]
        values, vectors = (torch.from_numpy(np.stack(part)) for part in zip(*pairs))
        return values, vectors
    scale = matrices.diagonal(dim1=1, dim2=2).sum(1, keepdim=True).clamp_min(1e-300)
    pair = largest_eigenpair(
        lambda vectors: (matrices @ vectors[:, :, None])[:, :, 0] / scale,
        start.expand(len(matrices), -1),
        tolerance=TOLERANCE,
        max_steps=128,
    )
    return pair.values * scale[:, 0], pair.vectors


def leading_unwatched(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Do what :func:`leading_eigenpair` does by a fixed number of operations, for which no card is waited for.

    Lanczos steps reduce each matrix to a small one, whose leading eigenvector is what its powers converge to.

    Returns:
        Values ``(b,)``, vectors ``(b, C)``, and ``(b,)`` bool: whether the angle to the true vector is within the
        tolerance, by the bound of :func:`~unseg_d2.graph.lanczos.largest_eigenpair`.
    """
    b, width, _ = matrices.shape
    scale = matrices.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-300)
    scaled = matrices / scale[:, None, None]
    start = torch.arange(1, width + 1, dtype=torch.float64, device=matrices.device).cos().expand(b, -1)
    steps = min(UNWATCHED_STEPS, width)
    krylov = Krylov(lambda vectors: (scaled @ vectors[:, :, None])[:, :, 0], start, steps)
    diagonal, lengths = krylov.tridiagonal(steps).chunk(2, 1)
    beside = lengths[:, : steps - 1]
    small = torch.diag_embed(diagonal) + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    weights = _dominant(small)
    values = (weights * (small @ weights[:, :, None])[:, :, 0]).sum(1)
    rest = small - (values[:, None] * weights)[:, :, None] * weights[:, None]
    rest = rest / values.clamp_min(1e-300)[:, None, None]
    for _ in range(GAP_SQUARINGS):
        rest = rest @ rest
    second = rest.flatten(1).norm(dim=1) ** (0.5**GAP_SQUARINGS)
    converged = lengths[:, steps - 1] * weights[:, -1].abs() <= TOLERANCE * (1 - second) * values
    return values * scale, krylov.combine(weights), converged | (values <= 0)


def _dominant(matrices: Tensor) -> Tensor:
    """Unit eigenvector ``(b, k)`` of the largest eigenvalue of positive semidefinite matrices; 0 of a zero matrix."""
    power = matrices
    for squaring in range(SQUARINGS):
        if squaring % 4 == 0:
            power = power / power.flatten(1).norm(dim=1).clamp_min(1e-300)[:, None, None]
        power = power @ power
    largest = power.diagonal(dim1=1, dim2=2).argmax(1)
    column = power.gather(2, largest[:, None, None].expand(-1, power.shape[1], 1))[:, :, 0]
    return column / column.norm(dim=1, keepdim=True).clamp_min(1e-300)


def leading_of_rows(rows: Tensor, total: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Leading eigenpair of the scatter of samples around their mean, without the ``(C, C)`` matrix; on the CPU.

    The dozen products with the samples that it takes are less work than the matrix for wide features.

    Args:
        rows: ``(m, C)`` float64.
        total: ``(C,)`` sum of the rows.
        count: number of rows; rows of zeros beyond it change nothing.

    Returns:
        Eigenvalue ``()`` and vector ``(C,)``.
    """
    mean = total / count
    scale = torch.linalg.vector_norm(rows).square().clamp_min(1e-300)

    def product(vectors: Tensor) -> Tensor:
        vector = vectors[0]
        return ((rows.T @ (rows @ vector) - total * (mean @ vector)) / scale)[None]

    start = torch.arange(1, rows.shape[1] + 1, dtype=torch.float64).cos()[None]
    # ARPACK's threads and PyTorch's, called in turns, wait for each other: three times as slow on two threads.
    pair = largest_eigenpair(product, start, tolerance=TOLERANCE, max_steps=128)
    if bool(pair.converged[0]):
        return pair.values[0] * scale, pair.vectors[0]
    values, vectors = torch.linalg.eigh(gram(rows) - torch.outer(total, mean))
    return values[-1], vectors[:, -1]


def _arpack(matrix: np.ndarray, start: np.ndarray) -> tuple[np.float64, np.ndarray]:
    """Largest eigenpair of one matrix, by the Lanczos iteration that has the least overhead on the CPU."""
    try:
        values, vectors = eigsh(matrix, k=1, which="LA", v0=start, tol=1e-10, ncv=12)
    except ArpackError:  # zero, or eigenvalues too close together to tell them apart
        values, vectors = np.linalg.eigh(matrix)
    return values[-1], np.ascontiguousarray(vectors[:, -1])


def gram(rows: Tensor) -> Tensor:
    """Sum of the outer products of ``(m, C)`` float64 rows, ``(C, C)``; on the CPU half of it is computed."""
    if rows.device.type != "cpu" or len(rows) == 0:
        return rows.T @ rows
    half = torch.from_numpy(dsyrk(1.0, rows.numpy().T))
    return half + half.triu(1).T
