"""The search of PriMaPs in one image on the CPU, and the step that it shares with the search in a batch.

Shape legend
    b      images
    n      patches of an image, r of them left
    C      feature channels
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.graph.principal import MAX_DENSE, gram, leading_eigenpair, leading_of_rows
from unseg_d2.masks.primaps.settings import PriMaPsSettings
from unseg_d2.transfer import to_card

TIE = 1e-9  # difference up to which two cosines count as equal
NO_DIRECTION = 1e-12  # share of the mean squared feature up to which a variance is rounding: the patches are alike


def varied(lengths: Tensor, total: Tensor) -> Tensor:
    """Return whether patches of lengths ``(b, n)`` and sums ``(b, C)`` are not all alike, ``(b,)`` bool."""
    n = lengths.shape[1]
    variance = lengths.square().sum(1) / n - (total / n).square().sum(1)
    return variance > NO_DIRECTION * lengths.square().mean(1)


def find_masks(
    tokens: Tensor, lengths: Tensor, free: Tensor, directions: Tensor, settings: PriMaPsSettings
) -> tuple[Tensor, Tensor]:
    """Return the next mask of each image and its score.

    Args:
        tokens: ``(b, r, C)`` float64.
        lengths: ``(b, r)`` of the tokens.
        free: ``(b, r)`` bool, patches that no mask has taken; those without a feature are never free.
        directions: ``(b, C)`` first principal direction of the free tokens; 0 where all are alike.
        settings: of PriMaPs.

    Returns:
        Masks ``(b, r)`` bool and mean cosines to the anchor ``(b,)`` in [0, 1].
    """
    inverse = torch.where(free, 1 / lengths, 0)  # takes patches that are not free to 0
    cosine = _product(tokens, directions) * inverse
    cosine *= _signs(cosine, free, settings)
    anchor = _first_largest(cosine if settings.mode == "parity" else cosine.masked_fill(~free, -2))
    anchor_token = tokens.gather(1, anchor[:, None, None].expand(-1, 1, tokens.shape[2]))[:, 0]
    cosine = _product(tokens, F.normalize(anchor_token, dim=1, eps=1e-300)) * inverse
    masks = free & (cosine >= settings.psi * cosine.amax(1, keepdim=True)) & (cosine > 0)
    scores = (cosine * masks).sum(1) / masks.sum(1).clamp_min(1)
    return masks, scores.clamp(0, 1)


def _signs(cosine: Tensor, free: Tensor, settings: PriMaPsSettings) -> Tensor:
    """Factor 1 or -1 of each direction, ``(b, 1)``."""
    if settings.sign == "random":
        return to_card(2 * torch.randint(0, 2, (len(cosine), 1)) - 1, cosine.device).to(cosine.dtype)
    excess = cosine.masked_fill(~free, -2).amax(1) + cosine.masked_fill(~free, 2).amin(1)
    excess = torch.where(excess.abs() > TIE, excess, cosine.sum(1))
    return torch.where(excess < 0, -1.0, 1.0)[:, None].to(cosine.dtype)


def _product(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Products ``(b, m)`` of ``(b, m, k)`` matrices and ``(b, k)`` vectors."""
    return (matrices @ vectors[:, :, None])[:, :, 0]


def _first_largest(values: Tensor) -> Tensor:
    """Index of the first entry of each row that equals the largest one up to rounding, ``(b,)``."""
    # argmax returns an arbitrary one of equal elements on CUDA; on bytes of 0 and 1 the cumulative sum finds the first.
    return ((values >= values.amax(1, keepdim=True) - TIE).cumsum(1) == 0).sum(1)


def search_one(tokens: Tensor, settings: PriMaPsSettings) -> tuple[np.ndarray, list[float]]:
    """Return the proposals of one image on the CPU.

    Args:
        tokens: ``(1, n, C)``.
        settings: of PriMaPs.

    Returns:
        The number of the proposal that has each patch, ``(n,)`` from 1, 0 is none; and the score of each proposal.
    """
    search = _Search.start(tokens, settings)
    while not search.done:
        search.step()
    return search.taken.numpy(), search.scores


@dataclass
class _Search:
    """Which patches are free, and the sums over them that their covariance is computed from.

    Patches that are taken leave the tensors. Everything is in float64, so that anchors, and with them the masks, do not
    depend on the number of threads.

    Attributes:
        tokens: ``(1, r, C)`` float64 of the r patches that are left.
        lengths: ``(1, r)`` float64 of the tokens.
        free: ``(1, r)`` bool; a zero feature has no direction and is never free.
        columns: ``(r,)`` index of each patch on the grid.
        total: ``(C,)``, sum of the free tokens.
        products: ``(C, C)``, sum of their outer products; ``None`` where directions are found without them.
        taken: ``(n,)`` number of the proposal that has the patch, from 1; 0 is none.
        scores: of the proposals.
        stalled: steps in a row that took nothing.
        done: whether the search has ended.
    """

    settings: PriMaPsSettings
    tokens: Tensor
    lengths: Tensor
    free: Tensor
    columns: Tensor
    total: Tensor
    products: Tensor | None
    taken: Tensor
    scores: list[float]
    stalled: int
    done: bool

    @staticmethod
    def start(tokens: Tensor, settings: PriMaPsSettings) -> _Search:
        """Begin with all patches of ``(1, n, C)`` tokens free; an image whose patches are all alike is done."""
        n, width = tokens.shape[1:]
        tokens = torch.empty(tokens.shape, dtype=torch.float64).copy_(tokens)  # and row-major
        lengths, total = tokens.norm(dim=2), tokens.sum(1)
        return _Search(
            settings,
            tokens=tokens,
            lengths=lengths,
            free=lengths > 0,
            columns=torch.arange(n),
            total=total[0],
            products=None if _shrinks(settings) and width > MAX_DENSE else gram(tokens[0]),
            taken=torch.zeros(n, dtype=torch.long),
            scores=[],
            stalled=0,
            done=not bool(varied(lengths, total)),
        )

    def step(self) -> None:
        """Find one more proposal."""
        masks, scores = find_masks(self.tokens, self.lengths, self.free, self._direction(), self.settings)
        self.scores.append(float(scores))
        self._take(masks[0])
        self.done = self._is_done(float((self.taken > 0).double().mean()))

    def _direction(self) -> Tensor:
        """First principal direction of the free tokens, ``(1, C)``; 0 where all are alike."""
        count = self.free.sum()
        scale = (self.lengths.square() * self.free).sum().clamp_min(1e-300)
        if self.products is None:
            value, vector = leading_of_rows(self.tokens[0], self.total, count)
        else:
            covariance = self.products - torch.outer(self.total, self.total / count)
            value, vector = (part[0] for part in leading_eigenpair(covariance[None]))
        return torch.where(value > NO_DIRECTION * scale, vector, 0)[None]

    def _take(self, mask: Tensor) -> None:
        """Make a mask ``(r,)`` the next proposal and take it out of the sums."""
        leaving, left = mask.nonzero()[:, 0], (self.free[0] & ~mask).nonzero()[:, 0]
        self.stalled = 0 if len(leaving) else self.stalled + 1
        self.taken[self.columns[leaving]] = len(self.scores)
        self.free &= ~mask
        if self.products is None:
            self._keep(left)
            self.total = self.tokens[0].sum(0)
            return
        # Whichever is less work: what leaves is subtracted, or what is left is summed again.
        subtract = len(leaving) < len(left)
        tokens = self.tokens[0].index_select(0, leaving if subtract else left)  # much faster than indexing
        total, products = tokens.sum(0), gram(tokens)
        self.total = self.total - total if subtract else total
        self.products = self.products - products if subtract else products
        if _shrinks(self.settings):
            # The rows that were just gathered are those that stay, unless the leaving ones were gathered.
            self._keep(left, None if subtract else tokens[None])

    def _keep(self, left: Tensor, tokens: Tensor | None = None) -> None:
        """Drop all patches except those left; ``tokens`` are theirs if already gathered."""
        self.tokens = self.tokens.index_select(1, left) if tokens is None else tokens
        self.lengths, self.free = self.lengths[:, left], self.free[:, left]
        self.columns = self.columns[left]

    def _is_done(self, covered: float) -> bool:
        if covered >= self.settings.coverage or not bool(self.free.any()):
            return True
        found = len(self.scores)
        if self.settings.mode == "parity":
            return found >= 4 and self.stalled >= 2
        return 0 < self.settings.max_masks <= found


def _shrinks(settings: PriMaPsSettings) -> bool:
    """Whether taken patches may be dropped: with the published random sign one of them may be the next anchor."""
    return (settings.mode, settings.sign) != ("parity", "random")
