"""The binary patch affinity of TokenCut and MaskCut, ``A = eps + (1 - eps) B``, with B kept as bits.

Shape legend
    b      images
    n      patches (nodes) per image
    g      groups of eight patches, ``ceil(n / 8)``
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.compiled import runs_compiled
from unseg_d2.errors import Unusable
from unseg_d2.graph.sharpening import PairThresholds, ThresholdBatch
from unseg_d2.transfer import to_card

ROWS_PER_CHUNK = 128  # rows of the cosine matrix that exist at a time; a multiple of 8
GROUPS_PER_CHUNK = 32  # groups looked up at a time; their indices stay in the cache of a CPU
CELLS_ON_A_CARD = 2**27  # a card has no such cache, and each chunk costs launches: as much as 2 GB hold at a time
DECIDED_IN_FLOAT64 = 1e-5  # distance from tau within which a float32 cosine, of error 1e-6, is recomputed
PAIRS_PER_CHUNK = 1024  # cosines recomputed at a time


@dataclass(frozen=True)
class BinaryAffinity:
    """Affinity matrices with the two values 1 (connected) and eps (not connected), one per image.

    A 60x60 grid takes 1.6 MB instead of 104 MB in float64, and a product with a vector is exact in float64: for each
    group of eight patches the 256 possible partial sums are tabulated once and looked up for every row.

    Attributes:
        bits: ``(b, g, n)`` uint8; bit ``7 - k`` of ``bits[:, j, i]`` says whether patches ``i`` and ``8 j + k`` are
            connected (numpy's ``packbits`` order). Symmetric. Bits of patches beyond ``n`` are 0.
        eps: weight of an edge between patches that are not connected, in [0, 1).
    """

    bits: Tensor
    eps: float

    @property
    def num_images(self) -> int:
        """Number of images b."""
        return self.bits.shape[0]

    @property
    def num_nodes(self) -> int:
        """Number of patches n of each image."""
        return self.bits.shape[2]

    def __getitem__(self, images: list[int]) -> BinaryAffinity:
        if images == list(range(self.num_images)):
            return self
        return BinaryAffinity(self.bits[to_card(torch.tensor(images), self.bits.device)], self.eps)

    def product(self, vectors: Tensor) -> Tensor:
        """Return ``A @ vectors``, ``(b, n)`` float64, for ``(b, n)`` float64 vectors, one per image."""
        return self._product(vectors, self.bits, self._weights())

    def products(self) -> Callable[[Tensor], Tensor]:
        """Return :meth:`product` for many vectors, one after another.

        Without compiled loops it holds eight times the memory of the bits.
        """
        bits = self.bits if runs_compiled(self.bits) else self.bits.long()
        return partial(self._product, bits=bits, weights=self._weights())

    def _product(self, vectors: Tensor, bits: Tensor, weights: Tensor) -> Tensor:
        b, groups, n = self.bits.shape
        padded = F.pad(vectors, (0, 8 * groups - n)) if n % 8 else vectors
        partial_sums = padded.reshape(b, groups, 8) @ weights
        if runs_compiled(bits):
            return _summed(partial_sums, bits)
        step = items_per_chunk(GROUPS_PER_CHUNK, b * n, vectors.device)
        chunks = [slice(start, start + step) for start in range(0, groups, step)]
        sums = (partial_sums[:, chunk].gather(2, bits[:, chunk].long()).sum(1) for chunk in chunks)
        total = next(sums)
        for chunk_sum in sums:
            total += chunk_sum
        return total

    def _weights(self) -> Tensor:
        """Column c holds the weights of eight edges whose bits are the byte c, ``(8, 256)`` float64."""
        connected = _bit_patterns(self.bits.device)
        return connected.double().masked_fill_(~connected, self.eps)

    def degrees(self) -> Tensor:
        """Return the row sums of A, ``(b, n)`` float64."""
        return self.product(torch.ones(self.num_images, self.num_nodes, dtype=torch.float64, device=self.bits.device))

    def density(self) -> Tensor:
        """Return the share of the pairs of patches that are connected, ``(b,)`` float64 in [0, 1]."""
        degrees = self.degrees().sum(1) / self.num_nodes**2
        return (degrees - self.eps) / (1 - self.eps)

    def isolate(self, nodes: Tensor) -> BinaryAffinity:
        """Return the affinity in which some patches are connected to nothing, not even to themselves.

        Args:
            nodes: ``(b, n)`` bool.
        """
        kept = pack_bits(~nodes)[:, :, None]  # the bits that survive in every column
        return BinaryAffinity(torch.where(nodes[:, None], 0, self.bits & kept), self.eps)

    def dense(self) -> Tensor:
        """Return A as ``(b, n, n)`` float64: 104 MB per image of 60x60 patches."""
        connected = unpack_bits(self.bits.transpose(1, 2))[:, :, : self.num_nodes]
        return connected.double().masked_fill_(~connected, self.eps)

    @staticmethod
    def from_connected(connected: Tensor, eps: float) -> BinaryAffinity:
        """Return the affinity of ``(b, n, n)`` bool symmetric matrices that say which patches are connected."""
        if connected.dim() != 3 or connected.shape[1] != connected.shape[2] or connected.dtype != torch.bool:
            raise ValueError(f"expected (b, n, n) bool, got {tuple(connected.shape)} {connected.dtype}")
        return BinaryAffinity(pack_bits(connected).transpose(1, 2).contiguous(), _checked_eps(eps))


def binary_affinity(tokens: Tensor, tau: float | Sequence[float | PairThresholds], eps: float) -> BinaryAffinity:
    """Connect the patches whose features have a cosine strictly above tau (TokenCut, equation 4).

    Cosines that are too close to tau for float32 are computed in float64, so that the graph does not depend on the
    device or the number of threads.

    Args:
        tokens: ``(b, C, n)`` features, any float type; an all-zero feature is connected to nothing, not even to itself.
        tau: threshold on the cosine, in [0, 1); or one per image, which may differ from pair to pair.
        eps: weight of an edge between patches that are not connected, in [0, 1).

    Raises:
        ValueError: if a feature is NaN or infinite, or tau or eps is out of range.
    """
    return binary_affinity_by_precision(tokens, tau, eps)[1]


def binary_affinity_by_precision(
    tokens: Tensor, tau: float | Sequence[float | PairThresholds], eps: float
) -> tuple[BinaryAffinity, BinaryAffinity]:
    """Return :func:`binary_affinity` of cosines in float32 throughout, and the usual one."""
    if tokens.dim() != 3:
        raise ValueError(f"expected tokens of shape (b, C, n), got {tuple(tokens.shape)}")
    thresholds = [tau] * len(tokens) if isinstance(tau, (int, float)) else tau
    if len(thresholds) != len(tokens):
        raise ValueError(f"expected a threshold for each of {len(tokens)} images, got {len(thresholds)}")
    for threshold in thresholds:
        value = threshold.tau if isinstance(threshold, PairThresholds) else threshold
        if not 0 <= value < 1:
            raise ValueError(f"tau must lie in [0, 1), got {value}")
    if not torch.isfinite(torch.stack(tokens.aminmax())).all():  # NaN is both extremes; needs no copy
        raise Unusable("the patch features contain NaN or infinite values; check the feature backend")
    n = tokens.shape[2]
    if tokens.device.type != "cpu" and n * n <= CELLS_ON_A_CARD:
        step = CELLS_ON_A_CARD // (n * n)
        parts = [
            _packed_together(tokens[start : start + step], ThresholdBatch.of(thresholds[start : start + step], tokens))
            for start in range(0, len(tokens), step)
        ]
        bits = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    else:
        bits = torch.stack([_packed_graphs(*pair) for pair in zip(tokens, thresholds)], dim=1)
    return BinaryAffinity(bits[0], _checked_eps(eps)), BinaryAffinity(bits[1], _checked_eps(eps))


def _packed_together(tokens: Tensor, thresholds: ThresholdBatch) -> Tensor:
    """Bits of images from their ``(b, C, n)`` tokens, ``(2, b, g, n)``: of float32 cosines, and of exact ones."""
    unit = F.normalize(tokens.float(), dim=1, eps=1e-12)
    above = torch.bmm(unit.mT, unit).sub_(thresholds.block())  # cosine - tau, whose sign is exact
    connected = above > 0
    single = pack_bits(connected, dim=1)
    near = (above.abs_() < DECIDED_IN_FLOAT64).nonzero()
    if not len(near):
        return torch.stack([single, single])
    for pairs in near.split(items_per_chunk(PAIRS_PER_CHUNK, 2 * tokens.shape[1], tokens.device)):
        image, i, j = pairs.unbind(1)
        first, second = (F.normalize(tokens[image, :, index].double(), dim=1, eps=1e-12) for index in (i, j))
        connected[image, i, j] = (first * second).sum(1) > thresholds.between(image, i, j)
    return torch.stack([single, pack_bits(connected, dim=1)])


def _packed_graphs(tokens: Tensor, tau: float | PairThresholds) -> Tensor:
    """Bits of one image from its ``(C, n)`` tokens, ``(2, g, n)``: of float32 cosines, and of exact ones."""
    n = tokens.shape[1]
    if isinstance(tau, PairThresholds):
        tau = tau.to(tokens.device)
    unit = F.normalize(tokens.float(), dim=0, eps=1e-12)
    step = items_per_chunk(ROWS_PER_CHUNK, n, tokens.device)
    above = unit.new_empty(min(step, n) * n)  # cosine - tau, whose sign is exact; one buffer for all chunks
    bits = torch.empty(2, -(-n // 8), n, dtype=torch.uint8, device=tokens.device)
    write = _write_compiled if runs_compiled(bits) else _write_rows
    exact = []  # pairs that float32 cannot decide, and what float64 says
    for start in range(0, n, step):
        rows, columns = slice(start, min(start + step, n)), slice(start, n)  # those before follow by symmetry
        chunk = above[: (rows.stop - start) * (n - start)].view(-1, n - start)
        threshold = tau.block(rows, columns) if isinstance(tau, PairThresholds) else tau
        torch.mm(unit[:, rows].T, unit[:, columns], out=chunk).sub_(threshold)
        near = write(bits[0], chunk, start) + start
        for pairs in near.split(PAIRS_PER_CHUNK) if len(near) else ():
            i, j = pairs.unbind(1)
            threshold = tau.between(i, j) if isinstance(tau, PairThresholds) else tau
            exact.append((i, j, _cosine64(tokens, i, j) > threshold))
    bits[1] = bits[0]
    for i, j, connected in exact:
        _write_pairs(bits[1], i, j, connected)
    return bits


def _write_rows(bits: Tensor, above: Tensor, start: int) -> Tensor:
    """Write the rows of patches from ``start`` on to ``(g, n)`` bits, and return the places near 0, ``(m, 2)``.

    Args:
        bits: written; see :class:`BinaryAffinity`.
        above: ``(r, n - start)`` float32, positive where patches are connected.
        start: first row and column, a multiple of 8; so is r where rows remain.
    """
    _write_block(bits, above > 0, start)
    return (above.abs_() < DECIDED_IN_FLOAT64).nonzero()


def _write_compiled(bits: Tensor, above: Tensor, start: int) -> Tensor:
    """:func:`_write_rows` in compiled loops."""
    from unseg_d2.graph import bit_loops

    return torch.from_numpy(bit_loops.pack_rows(above.numpy(), bits.numpy(), start, DECIDED_IN_FLOAT64))


def _write_pairs(bits: Tensor, first: Tensor, second: Tensor, connected: Tensor) -> None:
    """Say in ``(g, n)`` bits of a few pairs of patches ``(m,)`` whether they are connected, in both directions."""
    for one, other in ((first, second), (second, first)):
        for k in range(8):  # pairs that share a byte differ in k, or say the same
            here = other % 8 == k
            group, place, mask = other[here] // 8, one[here], 128 >> k
            byte = bits[group, place]
            bits[group, place] = torch.where(connected[here], byte | mask, byte & (255 - mask))


def _write_block(bits: Tensor, connected: Tensor, start: int) -> None:
    """Write ``(r, n - start)`` flags of patches from ``start`` on to ``(g, n)`` bits, and the mirror image."""
    stop = start + len(connected)
    bits[start // 8 :, start:stop] = pack_bits(connected).T
    if stop < bits.shape[1]:  # r is a multiple of 8 then
        below = connected[:, stop - start :].contiguous().view(torch.uint8).unflatten(0, (-1, 8))
        packed = below[:, 7].clone()
        for k in range(7):
            packed |= below[:, k] << (7 - k)
        bits[start // 8 : stop // 8, stop:] = packed


def items_per_chunk(on_cpu: int, cells_each: int, device: torch.device) -> int:
    """Return how many rows or groups of ``cells_each`` cells are worked on at a time.

    Args:
        on_cpu: as many on a CPU, and on a card a multiple of it.
        cells_each: numbers that exist for each of them meanwhile.
        device: where they are.
    """
    if device.type == "cpu":
        return on_cpu
    return max(1, CELLS_ON_A_CARD // (cells_each * on_cpu)) * on_cpu


def _summed(partial_sums: Tensor, bits: Tensor) -> Tensor:
    """Return the sums that bytes ``(b, g, n)`` take from ``(b, g, 256)``, by compiled loops, ``(b, n)``."""
    from unseg_d2.graph import bit_loops

    total = partial_sums.new_empty(bits.shape[0], bits.shape[2])
    for sums, image, out in zip(partial_sums, bits, total):
        bit_loops.summed(sums.numpy(), image.numpy(), out.numpy())
    return total


def _cosine64(tokens: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Cosines of the pairs ``(i, j)`` in float64; the order within a pair does not matter."""
    first, second = (F.normalize(tokens[:, index].double(), dim=0, eps=1e-12) for index in (i, j))
    return (first * second).sum(0)


def pack_bits(flags: Tensor, dim: int = -1) -> Tensor:
    """Pack n bools along an axis into ``ceil(n / 8)`` uint8, the first flag highest."""
    if flags.device.type == "cpu":
        return torch.from_numpy(np.packbits(flags.numpy(), axis=dim))
    flags = flags.movedim(dim, -1)
    padded = F.pad(flags, (0, -flags.shape[-1] % 8)) if flags.shape[-1] % 8 else flags
    packed = (padded.unflatten(-1, (-1, 8)).byte() << _shifts(flags.device)).sum(-1, dtype=torch.uint8)
    return packed.movedim(-1, dim)


def unpack_bits(bits: Tensor) -> Tensor:
    """Return the bools of the bytes that :func:`pack_bits` makes of a last axis: ``(..., g)`` to ``(..., 8 g)``."""
    return ((bits[..., None] >> _shifts(bits.device)) & 1).bool().flatten(-2)


def _shifts(device: torch.device) -> Tensor:
    """How far each flag of a group is shifted, ``(8,)``."""
    return torch.arange(7, -1, -1, dtype=torch.uint8, device=device)


def _bit_patterns(device: torch.device) -> Tensor:
    """Column c holds the bits of the byte c, ``(8, 256)`` bool."""
    return unpack_bits(torch.arange(256, dtype=torch.uint8, device=device)[:, None]).T


def _checked_eps(eps: float) -> float:
    if not 0 <= eps < 1:
        raise ValueError(f"eps must lie in [0, 1), got {eps}")
    return float(eps)
