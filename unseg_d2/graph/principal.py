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

from unseg_d2.graph.lanczos import largest_eigenpair

MAX_DENSE = 96  # channels up to which a dense eigensolver is faster than iterations


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
        tolerance=1e-7,
        max_steps=128,
    )
    return pair.values * scale[:, 0], pair.vectors


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
    pair = largest_eigenpair(product, start, tolerance=1e-7, max_steps=128)
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
