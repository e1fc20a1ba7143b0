"""The permutohedral lattice in loops compiled by Numba, for CPUs on which it is installed.

See ``permutohedral.py`` for the lattice itself and its shape legend.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from unseg_d2.compiled import runs_compiled
from unseg_d2.refine.sparse_rows import SparseRows
from unseg_d2.refine.threads import in_threads, map_in_threads


@dataclass(frozen=True)
class CompiledLattice:
    """The same kernel matrix as ``Lattice``; weights of splat and slice are one."""

    corners: Tensor  # (N, d + 1) int32
    weights: Tensor  # (N, d + 1) float32
    neighbours: tuple[Tensor, ...]  # of each axis (v + 1, 2) int32, v for none

    @classmethod
    def build(cls, positions: Tensor, strides: list[int], offset: int, keys_per_image: int) -> CompiledLattice:
        """Build the lattice of positions ``(b, d, n)`` float32 with the keys of ``permutohedral.build_lattice``."""
        from unseg_d2.refine import lattice_loops

        b, d, n = positions.shape
        arguments = (positions.float().contiguous().numpy(), np.array(strides), offset, keys_per_image)
        bits = (b * n).bit_length() + 1  # photos have fewer vertices than pixels
        corners, weights, keys = lattice_loops.corners_of_points(*arguments, bits)
        if not len(keys):
            corners, weights, keys = lattice_loops.corners_of_points(*arguments, bits + (d + 1).bit_length())
        order = np.argsort(keys)
        numbers = np.empty(len(keys), np.int32)
        numbers[order] = np.arange(len(keys), dtype=np.int32)
        in_threads(partial(lattice_loops.renumber, numbers, corners), len(corners))
        keys = keys[order]
        return cls(
            torch.from_numpy(corners),
            torch.from_numpy(weights).div_((1 + 2.0**-d) ** 0.5),
            tuple(map(torch.from_numpy, map_in_threads(partial(lattice_loops.match, keys), strides))),
        )

    @cached_property
    def _splat(self) -> SparseRows:
        from unseg_d2.refine import lattice_loops

        vertices = len(self.neighbours[0]) - 1
        arrays = lattice_loops.by_vertex(self.corners.numpy(), self.weights.numpy(), vertices)
        starts, points, weights = map(torch.from_numpy, arrays)
        return SparseRows(points, weights, starts)

    @cached_property
    def _slice(self) -> SparseRows:
        starts = torch.arange(0, self.corners.numel() + 1, self.corners.shape[1], dtype=torch.int32)
        return SparseRows(self.corners.view(-1), self.weights.view(-1), starts)

    def filter(self, values: Tensor) -> Tensor:
        """Return the Gaussian-weighted sums ``(N, c)`` of values ``(N, c)`` float32, as ``Lattice.filter``."""
        if values.shape[1] == 1:
            return self._filter_column(values[:, 0])[:, None]
        from unseg_d2.refine import lattice_loops

        vertices = self._splat @ values
        spare = torch.empty_like(vertices)
        for neighbours in self.neighbours:
            arrays = (tensor.numpy() for tensor in (neighbours, vertices, spare))
            in_threads(partial(lattice_loops.blur, *arrays), len(vertices))
            vertices, spare = spare, vertices
        return self._slice @ vertices

    def _filter_column(self, values: Tensor) -> Tensor:
        """The same for one channel ``(N,)``, for which PyTorch's products take twice the time."""
        from unseg_d2.refine import lattice_loops

        vertices = values.new_zeros(len(self.neighbours[0]))
        spare, out = torch.empty_like(vertices), torch.empty(len(values))
        corners, weights = self.corners.numpy(), self.weights.numpy()
        lattice_loops.splat_column(corners, weights, values.numpy(), vertices.numpy())
        for neighbours in self.neighbours:
            arrays = (tensor.numpy() for tensor in (neighbours, vertices, spare))
            in_threads(partial(lattice_loops.blur_column, *arrays), len(vertices))
            vertices, spare = spare, vertices
        in_threads(partial(lattice_loops.slice_column, corners, weights, vertices.numpy(), out.numpy()), len(out))
        return out

    def normalised(self, weight: float = 1.0) -> CompiledLattice:
        """Return the lattice whose filter is weight n * K(n * x), as ``Lattice.normalised``."""
        norm = self.filter(torch.ones((len(self.corners), 1))).rsqrt_()
        return CompiledLattice(self.corners, self.weights * norm.mul_(weight**0.5), self.neighbours)


def label_shares(exponentials: Tensor, prior: Tensor, rest: Tensor) -> Tensor:
    """Return p_l e_l / (sum_k p_k e_k + r / prod_k e_k), in place of the exponentials e ``(N, L)``.

    Args:
        exponentials: ``(N, L)`` float32.
        prior: p ``(N, L)`` float32.
        rest: r ``(N,)`` float32.
    """
    if runs_compiled(exponentials):
        from unseg_d2.refine import lattice_loops

        arrays = (tensor.numpy() for tensor in (exponentials, prior, rest))
        in_threads(partial(lattice_loops.shares, *arrays), len(rest))
        return exponentials
    rest = rest[:, None] / exponentials.prod(1, keepdim=True)
    exponentials.mul_(prior)
    return exponentials.div_(rest.add_(exponentials.sum(1, keepdim=True)))
