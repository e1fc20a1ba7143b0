"""TokenCut: the one salient object of an image by a normalised cut (Wang et al., CVPR 2022, section 3).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from unseg_d2.graph.affinity import binary_affinity
from unseg_d2.graph.ncut import cohesion, second_eigenvector, usable_vectors
from unseg_d2.masks.batches import check_shape, map_batches, to_proposals
from unseg_d2.masks.bipartition import (
    NO_CUT_REASON,
    change_tau,
    connected_component,
    foreground_side,
    inner_side,
)
from unseg_d2.masks.priors import Guide, PriorSettings, guides, unions_of_heads
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.settings import Settings, nested, setting
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_card

Side = Literal["peak", "border", "union"]


@dataclass(frozen=True)
class TokenCutSettings(Settings):
    """Settings of :func:`tokencut`; both values of ``MASKS.MODE`` mean the same here."""

    tau: float = setting(0.2, "cosine above which two patches are connected", symbol="tau", low=0, below=1)
    eps: float = setting(1e-5, "weight of an edge between patches that are not connected", low=0, below=1)
    side: Side = setting(
        "peak",
        "side of the cut that is the object: peak (holds the largest entry) | border (has less of the image's border) "
        "| union (lies more in the foreground union of MASKS.PRIOR)",
        choices=get_args(Side),
    )
    prior: PriorSettings = nested(PriorSettings)

    def asks_for_union(self) -> bool:
        """Return whether a foreground union chooses the side."""
        return self.side == "union"

    def when_empty(self) -> str:
        """Return what to change where there is no cut."""
        return change_tau("MASKS.TOKENCUT.TAU", self.tau)


@MASK_GENERATORS.register(settings=TokenCutSettings)
class TokenCut:
    """Mask generator that calls :func:`tokencut` with fixed settings.

    Args:
        settings: see :class:`TokenCutSettings`; ``None`` takes the defaults.
    """

    def __init__(self, settings: TokenCutSettings | None = None) -> None:
        self.settings = settings or TokenCutSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image; images of one grid go through a GPU together."""
        unions = unions_of_heads(features, self.settings.prior, asked=self.settings.asks_for_union())
        beside = [] if unions is None else [unions]
        return map_batches(lambda tokens, *unions: tokencut(tokens, self.settings, *unions), features, *beside)


@dataclass(frozen=True)
class SalientCut:
    """The cut of one image and the object it shows; all maps ``(h, w)``.

    Attributes:
        eigenvector: float64, D-orthonormal, of the sign that makes it large on the object: a soft saliency map. 0
            everywhere if all patches are alike.
        side: bool, foreground of the bipartition at the eigenvector's mean.
        seed: row-major index of the patch where the eigenvector is largest.
        mask: bool, the component of the side that holds the seed; empty if all patches are alike.
        score: share of the affinity of the mask's patches that stays within the mask, in [0, 1].
    """

    eigenvector: np.ndarray
    side: np.ndarray
    seed: int
    mask: np.ndarray
    score: float


def tokencut(
    tokens: Tensor, settings: TokenCutSettings | None = None, unions: Sequence[np.ndarray] | None = None
) -> list[Proposals]:
    """Find the salient object of each image: the component, around the peak, of the side that the peak lies in.

    MaskCut with one mask, without the rule that a side touching three corners is the background, so that the result
    does not depend on the sign of the eigenvector. With ``side="border"`` it is the side with less of the border; with
    ``side="union"`` that which lies more in the foreground union, unless only that touches three corners or more
    (UnionCut, ICCV 2025).

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        settings: see :class:`TokenCutSettings`; ``None`` takes the defaults.
        unions: b foreground unions ``(h, w)`` bool for ``side="union"``; ``None`` takes UnionCut's.

    Returns:
        One proposal per image, or none if all its patches are alike, on the CPU. The score is that of
        :class:`SalientCut`.

    Raises:
        ValueError: if the features are not finite, a union has another grid, or unions are given that have no effect.
    """
    cuts = salient_cuts(tokens, settings, unions)
    h, w = tokens.shape[2:]
    return [to_proposals([(cut.mask, cut.score)], (h, w), when_none=NO_CUT_REASON) for cut in cuts]


def salient_cuts(
    tokens: Tensor, settings: TokenCutSettings | None = None, unions: Sequence[np.ndarray] | None = None
) -> list[SalientCut]:
    """Cut each image in two and return the object, the eigenvector that shows it, and the bipartition.

    Args and errors are those of :func:`tokencut`.
    """
    settings = settings or TokenCutSettings()
    check_shape(tokens)
    b, _, h, w = tokens.shape
    affinity = binary_affinity(tokens.flatten(2), settings.tau, settings.eps)
    vectors = usable_vectors(second_eigenvector(affinity)).reshape(b, h, w)
    guided = guides(tokens, settings.prior, asked=settings.asks_for_union(), unions=unions)
    sides, seeds = zip(*(_side(vector, guide, settings.side) for vector, guide in zip(vectors, guided)))
    masks = np.stack([connected_component(side, seed) for side, seed in zip(sides, seeds)])
    scores = cohesion(affinity, to_card(torch.from_numpy(masks).flatten(1), tokens.device)).tolist()
    # Its peak is positive, so the sign is right already, unless the border or the union chose the other side.
    signed = [-vector if vector.flat[seed] < vector.mean() else vector for vector, seed in zip(vectors, seeds)]
    return [SalientCut(*parts) for parts in zip(signed, sides, seeds, masks, scores)]


def _side(vector: np.ndarray, guide: Guide, side: Side) -> tuple[np.ndarray, int]:
    """Return the side of a cut that is the object, and its seed."""
    if side == "border":
        return inner_side(vector)
    return guide.side(vector, None, first=True) if side == "union" else foreground_side(vector, corner_rule=False)
