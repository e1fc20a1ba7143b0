"""PriMaPs: masks around principal directions of the features, one after another (Hahn et al., TMLR 2024, section 3.2).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    K      proposals
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.graph.principal import MAX_DENSE, gram, leading_eigenpair, leading_of_rows
from unseg_d2.masks.batches import check_tokens, map_batches, to_proposals
from unseg_d2.masks.registry import MASK_GENERATORS, Mode, mode_setting
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures, Proposals

Sign = Literal["canonical", "random"]

TIE = 1e-9  # difference up to which two cosines count as equal
NO_DIRECTION = 1e-12  # share of the mean squared feature up to which a variance is rounding: the patches are alike


@dataclass(frozen=True)
class PriMaPsSettings(Settings):
    """Settings of :func:`primaps`; the defaults are the published ones, but for the limit.

    The ``canonical`` sign makes the larger extreme cosine positive; ``random`` takes PyTorch's random numbers, as the
    published randomised decomposition in effect does.
    """

    psi: float = setting(
        0.4,
        "cosine to the anchor, relative to the largest, from which a patch joins the mask",
        symbol="psi",
        above=0,
        high=1,
    )
    coverage: float = setting(0.95, "share of the grid covered by masks at which the search ends", above=0, high=1)
    max_masks: int = setting(100, "largest number of proposals per image; 0 is no limit (parity has none)", low=0)
    sign: Sign = setting(
        "canonical", "sign of the principal direction: canonical | random (published)", choices=get_args(Sign)
    )
    mode: Mode = mode_setting()

    def when_empty(self) -> str:
        """Return what to change where PriMaPs finds nothing."""
        return f"raise FEATURES.IMAGE_SIZE, or lower MASKS.PRIMAPS.PSI (now {self.psi:g}), so that masks are larger."


@MASK_GENERATORS.register(settings=PriMaPsSettings)
class PriMaPs:
    """Mask generator that calls :func:`primaps` with fixed settings.

    Args:
        settings: see :class:`PriMaPsSettings`; ``None`` takes the defaults.
    """

    def __init__(self, settings: PriMaPsSettings | None = None) -> None:
        self.settings = settings or PriMaPsSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image; images of one grid go through a GPU together."""
        return map_batches(lambda tokens: primaps(tokens, self.settings), features)


def primaps(tokens: Tensor, settings: PriMaPsSettings | None = None) -> list[Proposals]:
    """Divide each image into masks of similar patches, which do not overlap and cover most of it.

    The patch closest to the first principal direction of the free patches is the anchor, and the free patches similar
    to it are the mask; this repeats until most of the image is covered. A 3x3 majority vote smooths the masks.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        settings: see :class:`PriMaPsSettings`; ``None`` takes the defaults.

    Returns:
        Proposals per image, on the CPU; none if all its patches are alike. The score is the mean cosine to the anchor
        of the patches that were taken with it; in ``default`` the best comes first, in ``parity`` the first found, and
        scores are 1.

    Raises:
        ValueError: if the features are not finite.
    """
    settings = settings or PriMaPsSettings()
    results = []
    for image in primaps_labels(tokens, settings):
        masks = image.channels[1:] > 0
        if settings.mode == "parity":
            found = [(mask, 1.0) for mask in masks]
        else:
            found = sorted(zip(masks, image.scores.tolist()), key=lambda entry: -entry[1])
        h, w = image.labels.shape
        rejected = {"masks that the 3x3 majority vote empties": image.voted_away}
        results.append(to_proposals(found, (h, w), rejected, when_none="patches that are all alike"))
    return results


@dataclass(frozen=True)
class PriMaPsLabels:
    """The proposals of one image as a label map.

    Attributes:
        labels: ``(h, w)`` int64; 0 is no proposal, 1 to K the proposals in the order in which they were found.
        scores: ``(K,)`` mean cosine to the anchor, in [0, 1].
        voted_away: further proposals that the majority vote left without patches.
    """

    labels: np.ndarray
    scores: np.ndarray
    voted_away: int = 0

    @property
    def channels(self) -> np.ndarray:
        """One-hot channels of the labels, ``(K + 1, h, w)`` float32: the logits of the published CRF."""
        return (self.labels == np.arange(len(self.scores) + 1)[:, None, None]).astype(np.float32)


def primaps_labels(tokens: Tensor, settings: PriMaPsSettings) -> list[PriMaPsLabels]:
    """Return the label map of each image, see :func:`primaps`.

    In ``parity`` a proposal that the majority vote leaves without patches keeps its label.
    """
    check_tokens(tokens)
    b, _, h, w = tokens.shape
    search = _Search.start(tokens.flatten(2).transpose(1, 2), settings)
    while search.active:
        search.step()
    taken = search.taken.view(b, h, w).cpu().numpy()
    return [_labels(maps, scores, settings) for maps, scores in zip(taken, search.scores)]


def _labels(taken: np.ndarray, scores: list[float], settings: PriMaPsSettings) -> PriMaPsLabels:
    labels = majority_filter(taken, len(scores))
    if settings.mode == "parity":
        return PriMaPsLabels(labels, np.array(scores))
    left = np.unique(labels[labels > 0])
    renumbered = np.searchsorted(left, labels, side="right") * (labels > 0)
    return PriMaPsLabels(renumbered, np.array(scores)[left - 1], len(scores) - len(left))


def majority_filter(labels: np.ndarray, count: int) -> np.ndarray:
    """Give each patch the label that five or more of its 3x3 neighbours have, or 0; the border is reflected.

    Args:
        labels: ``(h, w)`` integers from 0 to ``count``; 0 does not vote.
        count: number of labels.

    Returns:
        ``(h, w)`` int64.
    """
    result = np.zeros(labels.shape, dtype=np.int64)
    for label in range(1, count + 1):
        votes = (labels == label).astype(np.uint8)
        votes = cv2.boxFilter(votes, -1, (3, 3), normalize=False, borderType=cv2.BORDER_REFLECT_101)
        result[votes >= 5] = label
    return result


@dataclass
class _Search:
    """The state of a batch: which patches are free, and the sums over them that their covariance is computed from.

    With a single image, patches that are taken leave the tensors; in a batch they stay and are masked. Everything is in
    float64, so that anchors, and with them the masks, do not depend on the device or the number of threads.

    Attributes:
        tokens: ``(b, r, C)`` float64 of the r patches that are left.
        lengths: ``(b, r)`` float64 of the tokens.
        free: ``(b, r)`` bool; a zero feature has no direction and is never free.
        columns: ``(r,)`` index of each patch on the grid.
        total: ``(b, C)``, sum of the free tokens.
        products: ``(b, C, C)``, sum of their outer products; ``None`` where directions are found without them.
        taken: ``(b, n)`` number of the proposal that has the patch, from 1; 0 is none.
        scores: of the proposals of each image.
        active: images that are not done.
        stalled: steps in a row that took nothing, per image.
    """

    settings: PriMaPsSettings
    tokens: Tensor
    lengths: Tensor
    free: Tensor
    columns: Tensor
    total: Tensor
    products: Tensor | None
    taken: Tensor
    scores: list[list[float]]
    active: list[int]
    stalled: list[int]

    @staticmethod
    def start(tokens: Tensor, settings: PriMaPsSettings) -> _Search:
        """Begin with all patches of ``(b, n, C)`` tokens free; an image whose patches are all alike is done."""
        b, n, width = tokens.shape
        tokens = torch.empty(tokens.shape, dtype=torch.float64, device=tokens.device).copy_(tokens)  # and row-major
        lengths = tokens.norm(dim=2)
        # The published anchor of a random sign may be a patch that was taken, so that all have to stay.
        shrinks = b == 1 and (settings.mode, settings.sign) != ("parity", "random")
        implicit = shrinks and width > MAX_DENSE and tokens.device.type == "cpu"
        products = None if implicit else torch.stack([gram(image) for image in tokens])
        total = tokens.sum(1)
        variance = lengths.square().sum(1) / n - (total / n).square().sum(1)
        varied = variance > NO_DIRECTION * lengths.square().mean(1)
        return _Search(
            settings,
            tokens=tokens,
            lengths=lengths,
            free=lengths > 0,
            columns=torch.arange(n, device=tokens.device),
            total=total,
            products=products,
            taken=torch.zeros(b, n, dtype=torch.long, device=tokens.device),
            scores=[[] for _ in range(b)],
            active=varied.nonzero()[:, 0].tolist(),
            stalled=[0] * b,
        )

    def step(self) -> None:
        """Find one more proposal in each active image."""
        tokens, free = self._of_active(self.tokens), self._of_active(self.free)
        inverse = torch.where(free, 1 / self._of_active(self.lengths), 0)  # takes patches that are not free to 0
        cosine = _product(tokens, self._directions(free)) * inverse
        cosine *= self._signs(cosine, free)
        anchor = _first_largest(cosine if self.settings.mode == "parity" else cosine.masked_fill(~free, -2))
        anchor_feature = F.normalize(tokens[torch.arange(len(anchor), device=anchor.device), anchor], dim=1, eps=1e-300)
        cosine = _product(tokens, anchor_feature) * inverse
        masks = free & (cosine >= self.settings.psi * cosine.amax(1, keepdim=True)) & (cosine > 0)
        scores = (cosine * masks).sum(1) / masks.sum(1).clamp_min(1)
        for i, mask, score in zip(self.active, masks, scores.clamp(0, 1).tolist()):
            self._take(i, mask, score)
        covered = (self.taken > 0).double().mean(1).tolist()
        self.active = [i for i in self.active if not self._done(i, covered[i])]

    def _of_active(self, values: Tensor) -> Tensor:
        return values if len(self.active) == len(values) else values[self.active]

    def _directions(self, free: Tensor) -> Tensor:
        """First principal direction of the free tokens of each active image, ``(a, C)``; 0 where all are alike."""
        total, count = self._of_active(self.total), free.sum(1, keepdim=True)
        scale = (self._of_active(self.lengths).square() * free).sum(1).clamp_min(1e-300)
        if self.products is None:
            value, vector = leading_of_rows(self.tokens[0], total[0], count[0, 0])
            values, vectors = value[None], vector[None]
        else:
            covariance = self._of_active(self.products) - total[:, :, None] * (total / count)[:, None]
            values, vectors = leading_eigenpair(covariance)
        return torch.where((values > NO_DIRECTION * scale)[:, None], vectors, 0)

    def _signs(self, cosine: Tensor, free: Tensor) -> Tensor:
        """Factor 1 or -1 of each direction, ``(a, 1)``."""
        if self.settings.sign == "random":
            return (2 * torch.randint(0, 2, (len(cosine), 1)) - 1).to(cosine)
        excess = cosine.masked_fill(~free, -2).amax(1) + cosine.masked_fill(~free, 2).amin(1)
        excess = torch.where(excess.abs() > TIE, excess, cosine.sum(1))
        return torch.where(excess < 0, -1.0, 1.0)[:, None].to(cosine)

    def _take(self, i: int, mask: Tensor, score: float) -> None:
        """Make a mask ``(r,)`` the next proposal of an image and take it out of the sums."""
        self.scores[i].append(score)
        leaving, left = mask.nonzero()[:, 0], (self.free[i] & ~mask).nonzero()[:, 0]
        self.stalled[i] = 0 if len(leaving) else self.stalled[i] + 1
        self.taken[i, self.columns[leaving]] = len(self.scores[i])
        self.free[i] &= ~mask
        if self.products is None:
            self._keep(left)
            self.total = self.tokens.sum(1)
            return
        # Whichever is less work: what leaves is subtracted, or what is left is summed again.
        subtract = len(leaving) < len(left)
        rows = leaving if subtract else left
        tokens = self.tokens[i].index_select(0, rows)  # much faster than indexing
        total, products = tokens.sum(0), gram(tokens)
        self.total[i] = self.total[i] - total if subtract else total
        self.products[i] = self.products[i] - products if subtract else products
        # A random sign may make a taken patch the published anchor, so that it must still be present.
        if len(self.free) == 1 and (self.settings.mode, self.settings.sign) != ("parity", "random"):
            # The rows that were just gathered are those that stay, unless the leaving ones were gathered.
            self._keep(left, None if subtract else tokens[None])

    def _keep(self, left: Tensor, tokens: Tensor | None = None) -> None:
        """Drop all patches of the single image except those left; ``tokens`` are theirs if already gathered."""
        self.tokens = self.tokens.index_select(1, left) if tokens is None else tokens
        self.lengths, self.free = self.lengths[:, left], self.free[:, left]
        self.columns = self.columns[left]

    def _done(self, i: int, covered: float) -> bool:
        if covered >= self.settings.coverage or not bool(self.free[i].any()):
            return True
        found = len(self.scores[i])
        if self.settings.mode == "parity":
            return found >= 4 and self.stalled[i] >= 2
        return 0 < self.settings.max_masks <= found


def _product(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Products ``(b, m)`` of ``(b, m, k)`` matrices and ``(b, k)`` vectors."""
    return (matrices @ vectors[:, :, None])[:, :, 0]


def _first_largest(values: Tensor) -> Tensor:
    """Index of the first entry of each row that equals the largest one up to rounding, ``(a,)``."""
    return (values >= values.amax(1, keepdim=True) - TIE).float().argmax(1)
