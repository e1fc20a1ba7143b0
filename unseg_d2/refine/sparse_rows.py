"""A sparse matrix whose products use the weighted bag of embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST = 64  # entries of a row that a card sums one after another


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

    def scaled(self, factors: Tensor) -> SparseRows:
        """Return the matrix with its columns multiplied by factors ``(columns,)`` float32."""
        return replace(self, weights=self.weights * factors.index_select(0, self.columns))


@dataclass(frozen=True)
class SplitRows:
    """The same matrix in two factors, with no row of more than a few entries.

    A card has one thread add up the entries of a row, however many they are, while the others wait for it.
    """

    pieces: SparseRows  # of rows
    rows: SparseRows  # of pieces

    @staticmethod
    def of(matrix: SparseRows, longest: int = LONGEST) -> SplitRows:
        """Split the rows of a matrix where an entry has a number that ``longest`` divides; no card is waited for."""
        entries, device = len(matrix.columns), matrix.columns.device
        marks = torch.arange(0, entries, longest, dtype=torch.int32, device=device)
        cuts = torch.cat([matrix.starts, marks]).sort().values
        first = torch.searchsorted(cuts, matrix.starts, out_int32=True)
        pieces = torch.arange(len(cuts) - 1, dtype=torch.int32, device=device)
        ones = torch.ones(len(pieces), device=device)
        return SplitRows(replace(matrix, starts=cuts), SparseRows(pieces, ones, first))

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Product with a dense matrix ``(columns, c)`` float32."""
        return self.rows @ (self.pieces @ dense)

    def scaled(self, factors: Tensor) -> SplitRows:
        """Return the matrix with its columns multiplied by factors ``(columns,)`` float32."""
        return replace(self, pieces=self.pieces.scaled(factors))
