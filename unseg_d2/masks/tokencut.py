"""TokenCut: the one salient object of an image by a normalised cut (Wang et al., CVPR 2022, section 3).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from unseg_d2.graph.affinity import binary_affinity
from unseg_d2.graph.ncut import NO_CUT, cohesion, second_eigenvector
from unseg_d2.masks.batches import check_tokens, map_batches, to_proposals
from unseg_d2.masks.bipartition import connected_component, foreground_side
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.structures import PatchFeatures, Proposals


@MASK_GENERATORS.register()
class TokenCut:
    """Mask generator that calls :func:`tokencut` with fixed settings.

    Args:
        settings: keyword arguments of :func:`tokencut`.

    Raises:
        ValueError: if a setting is out of range.
    """

    def __init__(self, **settings: Any) -> None:
        tokencut(torch.ones(1, 1, 1, 1), **settings)  # names a wrong setting before the first image
        self.settings = settings

    @classmethod
    def from_config(cls, cfg: CfgNode) -> TokenCut:
        """Return the generator of ``cfg.MASKS.TOKENCUT``; both values of ``MASKS.MODE`` mean the same here."""
        return cls(**{key.lower(): value for key, value in cfg.MASKS.TOKENCUT.items()})

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image; images of one grid go through a GPU together."""
        return map_batches(lambda tokens: tokencut(tokens, **self.settings), features)


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


def tokencut(tokens: Tensor, *, tau: float = 0.2, eps: float = 1e-5) -> list[Proposals]:
    """Find the salient object of each image: the component, around the peak, of the side that the peak lies in.

    MaskCut with one mask, without the rule that a side touching three corners is the background, so that the result
    does not depend on the sign of the eigenvector.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        tau: cosine above which two patches are connected, in [0, 1).
        eps: weight of an edge between patches that are not connected, in (0, 1).

    Returns:
        One proposal per image, or none if all its patches are alike, on the CPU. The score is that of
        :class:`SalientCut`.

    Raises:
        ValueError: if the features are not finite or a setting is out of range.
    """
    cuts = salient_cuts(tokens, tau=tau, eps=eps)
    return [to_proposals([(cut.mask, cut.score)], tuple(tokens.shape[2:])) for cut in cuts]


def salient_cuts(tokens: Tensor, *, tau: float = 0.2, eps: float = 1e-5) -> list[SalientCut]:
    """Cut each image in two and return, beside the object, the eigenvector that shows it and the bipartition.

    Args and errors are those of :func:`tokencut`.
    """
    check_tokens(tokens)
    b, _, h, w = tokens.shape
    affinity = binary_affinity(tokens.flatten(2), tau, eps)
    cut = second_eigenvector(affinity)
    vectors = torch.where(cut.values[:, None] < NO_CUT, cut.vectors, 0).view(b, h, w).cpu().numpy()
    sides, seeds = zip(*(foreground_side(vector, corner_rule=False) for vector in vectors))
    masks = np.stack([connected_component(side, seed) for side, seed in zip(sides, seeds)])
    scores = cohesion(affinity, torch.from_numpy(masks).flatten(1).to(tokens.device)).tolist()
    # Its peak is positive, and without the corner rule the foreground is the peak's side: the sign is right already.
    return [SalientCut(*parts) for parts in zip(vectors, sides, seeds, masks, scores)]
