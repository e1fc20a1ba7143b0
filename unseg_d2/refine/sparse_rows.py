"""A sparse matrix whose products use the weighted bag of embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix by rows: row i has ``weights[k]`` at ``columns[k]`` for k from ``starts[i]`` to ``starts[i+1]``.

    Products use the weighted bag of embeddings, which runs on all threads of a CPU and on CUDA, and sums in the same
    order each time.
    """

    columns: Tensor  # (entries,) int32
    weights: Tensor  # (entries,) float32
    starts: Tensor  # (rows + 1,) int32

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Product with a dense matrix ``(columns, c)`` float32."""
        return F.embedding_bag(
            self.columns,
            dense,
            self.starts,
            mode="sum",
            per_sample_weights=self.weights,
            include_last_offset=True,
        )
