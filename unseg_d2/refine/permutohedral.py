"""Gaussian filtering in several dimensions on the permutohedral lattice (Adams, Baek and Davis, Eurographics 2010).

The lattice of d dimensions is the projection of the integer vectors z of d + 1 dimensions along (1, ..., 1): vectors
that differ by a multiple of it are the same vertex. A point y of the hyperplane sum(y) = 0 lies in a simplex whose
vertices are floor(y), floor(y) + e_a, floor(y) + e_a + e_b, ...: ones are added in the order of falling fractional
parts. The neighbours of a vertex along axis j are z + e_j and z - e_j, so with a key that is linear in z every step is
one addition. All images of a batch share one lattice; the index of the image is a part of the key.

Shape legend
    b      images
    d      dimensions of the space that is filtered in
    n      points per image, N = b n
    v      vertices of all images
    c      channels
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.compiled import runs_compiled
from unseg_d2.errors import Unusable
from unseg_d2.refine.compiled import CompiledLattice
from unseg_d2.refine.sparse_rows import SparseRows, SplitRows
from unseg_d2.transfer import to_card, to_host

TILE = 16384  # points embedded at a time on a CPU: what they need stays in the cache
FRACTION_BITS, AXIS_BITS = 24, 3  # a fractional part in fixed point and its axis are sorted as one int32
MAX_DIMENSIONS = 2**AXIS_BITS - 1


@dataclass(frozen=True)
class Lattice:
    """A Gaussian kernel matrix in factors: values are splatted to vertices, blurred along each axis, sliced back."""

    splat: SparseRows | SplitRows  # (v, N)
    blurs: tuple[SparseRows, ...]  # each (v, v), of one or two axes
    slice: SparseRows  # (N, v)

    def filter(self, values: Tensor) -> Tensor:
        """Return the Gaussian-weighted sums of values.

        Args:
            values: ``(N, c)`` float32.

        Returns:
            ``(N, c)``; the weight of a point for itself is about 1, and weights depend on where in the lattice the
            points lie (normalise by what the filter makes of ones).
        """
        vertices = self.splat @ values
        for blur in self.blurs:
            vertices = blur @ vertices
        return self.slice @ vertices

    def normalised(self, weight: float = 1.0) -> Lattice:
        """Return the lattice whose filter is weight n * K(n * x) with n = 1 / sqrt(K 1), K being this one's filter."""
        points = len(self.slice.starts) - 1
        norm = self.filter(torch.ones((points, 1), device=self.slice.weights.device)).rsqrt()
        sliced = self.slice.weights.view(points, -1) * (norm * weight)
        return Lattice(self.splat.scaled(norm[:, 0]), self.blurs, replace(self.slice, weights=sliced.view(-1)))


def build_lattice(positions: Tensor, bounds: tuple[Tensor, Tensor] | None = None) -> Lattice | CompiledLattice:
    """Build the lattice of points; standard deviation of the kernel is 1 in each dimension.

    Args:
        positions: ``(b, d, n)`` float32, coordinates divided by the standard deviation of the kernel; ``d <= 7``.
        bounds: smallest and largest coordinates of all points, ``(d,)`` float32 on the host, where they are known; a
            card is waited for otherwise.

    Raises:
        ValueError: if the coordinates span more vertices than a 64-bit key can tell apart, are not finite, or d is
            too large.
    """
    b, d, n = positions.shape
    if not 1 <= d <= MAX_DIMENSIONS:
        raise ValueError(f"expected 1 to {MAX_DIMENSIONS} dimensions, got {d}")
    embedding = _embedding(d)
    low, high = bounds or to_host(positions.amin((0, 2)), positions.amax((0, 2)))
    strides, offset, keys_per_image = _strides(embedding, low.double(), high.double())
    if (b * keys_per_image).bit_length() > 62:
        raise Unusable("the standard deviations are too small for coordinates of this range")
    if runs_compiled(positions):
        return CompiledLattice.build(positions, strides, offset, keys_per_image)
    embedding, table = (to_card(part, positions.device) for part in (embedding, torch.tensor(strides)))
    keys = torch.empty((b, n, d + 1), dtype=torch.int64, device=positions.device)
    weights = torch.empty((b, n, d + 1), dtype=torch.float32, device=positions.device)
    lowest = torch.arange(b, device=positions.device) * keys_per_image + offset
    if positions.device.type == "cpu":
        for image in range(b):
            for start in range(0, n, TILE):
                part = np.s_[image, start : start + TILE]
                y = embedding @ positions[image, :, start : start + TILE].double()
                _embed(y, strides, table, lowest[image], keys[part], weights[part])
    else:  # all at once, as each operation is a launch
        y = embedding @ positions.movedim(1, 0).flatten(1).double()
        lowest = lowest[:, None].expand(b, n).reshape(-1)
        _embed(y, strides, table, lowest, keys.view(b * n, d + 1), weights.view(b * n, d + 1))
    point, entry, vertex, starts, vertex_keys = _group(keys.view(b * n, d + 1), (b * keys_per_image).bit_length())
    entry_weights = weights.view(-1)
    splat = SparseRows(point.int(), entry_weights.index_select(0, entry), starts)
    return Lattice(
        splat=splat if keys.device.type == "cpu" else SplitRows.of(splat),
        blurs=_blurs([_neighbours(vertex_keys, stride) for stride in strides]),
        slice=SparseRows(
            torch.empty_like(vertex).scatter_(0, entry, vertex),
            entry_weights,
            torch.arange(0, b * n * (d + 1) + 1, d + 1, dtype=torch.int32, device=keys.device),
        ),
    )


def _embedding(d: int) -> Tensor:
    """Matrix ``(d + 1, d)`` float64 to the hyperplane; the blur then has standard deviation 1 (section 3.1)."""
    matrix = torch.zeros((d + 1, d), dtype=torch.float64)
    for axis in range(d):
        scale = math.sqrt(2 / 3 / ((axis + 1) * (axis + 2)))
        matrix[: axis + 1, axis] = scale
        matrix[axis + 1, axis] = -(axis + 1) * scale
    return matrix


def _strides(embedding: Tensor, low: Tensor, high: Tensor) -> tuple[list[int], int, int]:
    """Factors of z in the key, what is added to it, and the number of keys of an image, from bounds ``(d,)`` float64.

    The coordinates z_i - z_d tell vertices apart; they are the digits of the key. Room is left for the vertices
    around a point and for their neighbours, so that a step never carries over into the next digit.
    """
    if not torch.isfinite(low + high).all():
        raise Unusable("coordinates are not finite")
    digits = embedding[:-1] - embedding[-1]
    rising, falling = digits.clamp(min=0), digits.clamp(max=0)
    first = [math.floor(value) - 3 for value in rising @ low + falling @ high]
    last = [math.ceil(value) + 3 for value in rising @ high + falling @ low]
    strides: list[int] = []
    keys_per_image = 1
    for a, b in zip(reversed(first), reversed(last)):
        strides.insert(0, keys_per_image)
        keys_per_image *= b - a + 1
    offset = -sum(a * stride for a, stride in zip(first, strides))
    return [*strides, -sum(strides)], offset, keys_per_image


def _embed(y: Tensor, strides: list[int], table: Tensor, lowest: Tensor, keys: Tensor, weights: Tensor) -> None:
    """Write keys and barycentric weights, both ``(m, d + 1)``, of the vertices around points ``(d + 1, m)``.

    Args:
        y: points on the hyperplane, float64.
        strides, table: the factors of the key, on the host and on the device of the points.
        lowest: what is added to the keys of each point, ``(m,)`` or one for all.
        keys, weights: what is written.
    """
    floor = y.floor()
    fraction = ((y - floor) * 2**FRACTION_BITS).to(torch.int32)
    packed = [(row << AXIS_BITS) | axis for axis, row in enumerate(fraction)]
    for last in range(len(packed) - 1, 0, -1):  # a sorting network, largest first
        for i in range(last):
            packed[i], packed[i + 1] = torch.maximum(packed[i], packed[i + 1]), torch.minimum(packed[i], packed[i + 1])
    ordered = torch.stack(packed)
    fraction = ordered >> AXIS_BITS
    weights[:, 1:] = (fraction[:-1] - fraction[1:]).t()
    weights[:, 0] = 2**FRACTION_BITS - fraction[0] + fraction[-1]
    weights *= 2.0**-FRACTION_BITS
    steps = table.index_select(0, (ordered[:-1] & (2**AXIS_BITS - 1)).view(-1)).view(len(ordered) - 1, -1)
    key = lowest.expand_as(keys[:, 0]).clone()
    for coordinate, stride in zip(floor.to(torch.int64), strides):
        key += coordinate * stride
    keys[:, 0] = key
    for j, step in enumerate(steps):
        key = key + step
        keys[:, j + 1] = key


def _group(keys: Tensor, key_bits: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Sort the keys ``(N, d + 1)`` of all entries.

    Returns:
        Of each sorted entry its point, its place among the entries, its vertex; of each vertex, and behind the last,
        its first entry; of each vertex its key.
    """
    n, corners = keys.shape
    index_bits = (n - 1).bit_length() + AXIS_BITS
    if keys.device.type == "cpu" and key_bits + index_bits <= 63:
        # NumPy sorts plain integers many times faster than PyTorch sorts with indices: carry the index along.
        keys.bitwise_left_shift_(index_bits).add_(torch.arange(corners))
        packed = keys.add_((torch.arange(n) << AXIS_BITS)[:, None]).view(-1)
        packed.numpy().sort()
        keys = packed >> index_bits
        entry = packed.bitwise_and_(2**index_bits - 1)
        point = entry >> AXIS_BITS
        entry -= point * (2**AXIS_BITS - corners)
    else:
        keys, entry = torch.sort(keys.view(-1), stable=True)
        point = torch.div(entry, corners, rounding_mode="floor")
    is_first = torch.ones_like(keys, dtype=torch.bool)
    torch.ne(keys[1:], keys[:-1], out=is_first[1:])
    vertex = is_first.cumsum(0, dtype=torch.int32).sub_(1)
    first = is_first.nonzero()[:, 0]
    return point, entry, vertex, F.pad(first, (0, 1), value=len(keys)).int(), keys.index_select(0, first)


def _neighbours(keys: Tensor, stride: int) -> Tensor:
    """Each vertex itself and its two neighbours along an axis, ``(v + 1, 3)`` int64; v stands for no vertex."""
    v = len(keys)
    wanted = keys + stride
    if keys.device.type == "cpu":  # NumPy's search gains from the wanted keys being sorted
        index = torch.from_numpy(np.searchsorted(keys.numpy(), wanted.numpy())).clamp_(max=v - 1)
    else:
        index = torch.searchsorted(keys, wanted).clamp_(max=v - 1)
    index.masked_fill_(keys.index_select(0, index) != wanted, v)
    table = torch.full((v + 1, 3), v, device=keys.device)
    table[:v, 0] = torch.arange(v, device=keys.device)
    table[:v, 1] = index
    table[:, 2].scatter_(0, index, table[:v, 0])
    table[v] = v
    return table


def _blurs(neighbours: list[Tensor]) -> tuple[SparseRows, ...]:
    """Blur by (1/2, 1, 1/2) along all axes, two per matrix: the lattice is so sparse that this halves the work."""
    v, count = len(neighbours[0]) - 1, len(neighbours)
    weights = to_card(torch.tensor([1, 0.5, 0.5]), neighbours[0].device)
    scale = 1 / (1 + 2.0 ** (1 - count))
    blurs = []
    for first, second in zip(neighbours[::2], neighbours[1::2]):
        reached = first.index_select(0, second[:v].reshape(-1)).view(v, 9)
        blurs.append(_existing(reached, (weights[:, None] * weights).view(-1)))
    if count % 2:
        blurs.append(_existing(neighbours[-1][:v], weights))
    blurs[0].weights.mul_(scale)
    return tuple(blurs)


def _existing(columns: Tensor, weights: Tensor) -> SparseRows:
    """Rows of the vertices ``(v, k)`` that exist, with the weight of each of the k steps.

    On a card, which would be waited for to count them, those that do not exist stay, with a weight of 0.
    """
    v, k = columns.shape
    exists = (columns < v).view(-1)
    if columns.device.type != "cpu":
        return SparseRows(
            columns.reshape(-1).clamp_max(v - 1).int(),
            weights.repeat(v) * exists,
            torch.arange(0, v * k + 1, k, dtype=torch.int32, device=columns.device),
        )
    kept = exists.nonzero()[:, 0]
    ends = exists.view(v, k).sum(1, dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return SparseRows(
        columns.reshape(-1).index_select(0, kept).int(),
        weights.repeat(v).index_select(0, kept),
        F.pad(ends, (1, 0)),
    )
