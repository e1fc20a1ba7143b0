"""The binary patch affinity of TokenCut and MaskCut, ``A = eps + (1 - eps) B``, with B kept as bits.

Shape legend
    b      images
    n      patches (nodes) per image
    g      groups of eight patches, ``ceil(n / 8)``
    C      feature channels
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

ROWS_PER_CHUNK = 256  # rows of the cosine matrix that exist at a time; a multiple of 8
GROUPS_PER_CHUNK = 64  # groups looked up at a time; their indices stay in the cache
DECIDED_IN_FLOAT64 = 1e-4  # distance from tau within which a float32 cosine is recomputed; its error stays below 5e-5


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

    def __getitem__(self, images: Tensor | list[int] | slice) -> BinaryAffinity:
        return BinaryAffinity(self.bits[images], self.eps)

    def product(self, vectors: Tensor) -> Tensor:
        """Return ``A @ vectors``, ``(b, n)`` float64, for ``(b, n)`` float64 vectors."""
        b, groups, n = self.bits.shape
        padded = F.pad(vectors, (0, 8 * groups - n)).view(b, groups, 8)
        partial_sums = padded @ _bit_patterns(vectors.device)
        connected = torch.zeros_like(vectors)
        for start in range(0, groups, GROUPS_PER_CHUNK):
            chunk = slice(start, start + GROUPS_PER_CHUNK)
            connected += partial_sums[:, chunk].gather(2, self.bits[:, chunk].long()).sum(1)
        return self.eps * vectors.sum(1, keepdim=True) + (1 - self.eps) * connected

    def degrees(self) -> Tensor:
        """Return the row sums of A, ``(b, n)`` float64."""
        return self.product(torch.ones(self.num_images, self.num_nodes, dtype=torch.float64, device=self.bits.device))

    def isolate(self, nodes: Tensor) -> BinaryAffinity:
        """Return the affinity in which some patches are connected to nothing, not even to themselves.

        Args:
            nodes: ``(b, n)`` bool.
        """
        kept = pack_bits(~nodes[:, :, None])  # (b, g, 1): the bits that survive in every column
        return BinaryAffinity(torch.where(nodes[:, None], 0, self.bits & kept), self.eps)

    def dense(self) -> Tensor:
        """Return A as ``(b, n, n)`` float64: 104 MB per image of 60x60 patches."""
        connected = unpack_bits(self.bits)[:, : self.num_nodes]
        return connected.double().masked_fill_(~connected, self.eps)

    @staticmethod
    def from_connected(connected: Tensor, eps: float = 1e-5) -> BinaryAffinity:
        """Return the affinity of ``(b, n, n)`` bool symmetric matrices that say which patches are connected."""
        if connected.dim() != 3 or connected.shape[1] != connected.shape[2] or connected.dtype != torch.bool:
            raise ValueError(f"expected (b, n, n) bool, got {tuple(connected.shape)} {connected.dtype}")
        return BinaryAffinity(pack_bits(connected), _checked_eps(eps))


def binary_affinity(tokens: Tensor, tau: float, eps: float = 1e-5, *, exact: bool = True) -> BinaryAffinity:
    """Connect the patches whose features have a cosine strictly above tau (TokenCut, equation 4).

    Args:
        tokens: ``(b, C, n)`` features, any float type; an all-zero feature is connected to nothing, not even to itself.
        tau: threshold on the cosine, in [0, 1).
        eps: weight of an edge between patches that are not connected, in [0, 1).
        exact: decide cosines that are too close to tau for float32 in float64, so that the graph does not depend on
            the device or the number of threads. ``False`` is float32 throughout.

    Raises:
        ValueError: if a feature is NaN or infinite, or tau or eps is out of range.
    """
    if tokens.dim() != 3:
        raise ValueError(f"expected tokens of shape (b, C, n), got {tuple(tokens.shape)}")
    if not 0 <= tau < 1:
        raise ValueError(f"tau must lie in [0, 1), got {tau}")
    if not torch.isfinite(tokens).all():
        raise ValueError("the patch features contain NaN or infinite values; check the feature backend")
    return BinaryAffinity(torch.stack([_packed_graph(image, tau, exact) for image in tokens]), _checked_eps(eps))


def _packed_graph(tokens: Tensor, tau: float, exact: bool) -> Tensor:
    """``(g, n)`` bits of one image from its ``(C, n)`` tokens."""
    unit = F.normalize(tokens.float(), dim=0, eps=1e-12)
    rows = []
    for start in range(0, tokens.shape[1], ROWS_PER_CHUNK):
        cosine = unit[:, start : start + ROWS_PER_CHUNK].T @ unit
        connected = cosine > tau
        if exact:
            near = ((cosine - tau).abs_() < DECIDED_IN_FLOAT64).nonzero(as_tuple=True)
            connected[near] = _cosine64(tokens, near[0] + start, near[1]) > tau
        rows.append(pack_bits(connected[None])[0])
    return torch.cat(rows)


def _cosine64(tokens: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Cosines of the pairs ``(i, j)`` in float64; the order within a pair does not matter."""
    first, second = (F.normalize(tokens[:, index].double(), dim=0, eps=1e-12) for index in (i, j))
    return (first * second).sum(0)


def pack_bits(flags: Tensor) -> Tensor:
    """Pack ``(b, m, n)`` bool along the second axis into ``(b, ceil(m / 8), n)`` uint8, first flag highest."""
    if flags.device.type == "cpu":
        return torch.from_numpy(np.packbits(flags.numpy(), axis=1))
    b, m, n = flags.shape
    padded = F.pad(flags, (0, 0, 0, -m % 8)).view(b, -1, 8, n).byte()
    return (padded << _shifts(flags.device)).sum(2, dtype=torch.uint8)


def unpack_bits(bits: Tensor) -> Tensor:
    """Undo :func:`pack_bits`: ``(b, g, n)`` uint8 to ``(b, 8 g, n)`` bool."""
    b, groups, n = bits.shape
    return ((bits[:, :, None] >> _shifts(bits.device)) & 1).bool().reshape(b, 8 * groups, n)


def _shifts(device: torch.device) -> Tensor:
    """How far each flag of a group is shifted, ``(8, 1)``."""
    return torch.arange(7, -1, -1, dtype=torch.uint8, device=device)[:, None]


def _bit_patterns(device: torch.device) -> Tensor:
    """Column c holds the bits of the byte c, ``(8, 256)`` float64."""
    return ((torch.arange(256, device=device) >> _shifts(device).long()) & 1).double()


def _checked_eps(eps: float) -> float:
    if not 0 <= eps < 1:
        raise ValueError(f"eps must lie in [0, 1), got {eps}")
    return float(eps)
