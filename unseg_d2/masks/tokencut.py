"""TokenCut: the one salient object of an image by a normalised cut (Wang et al., CVPR 2022, section 3).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from unseg_d2.graph.affinity import binary_affinity
from unseg_d2.graph.ncut import NO_CUT, cohesion, second_eigenvector
from unseg_d2.masks.batches import check_tokens, map_batches, to_proposals
from unseg_d2.masks.bipartition import seed_mask
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


def tokencut(tokens: Tensor, *, tau: float = 0.2, eps: float = 1e-5) -> list[Proposals]:
    """Find the salient object of each image: the component, around the peak, of the side that the peak lies in.

    MaskCut with one mask, without the rule that a side touching three corners is the background, so that the result
    does not depend on the sign of the eigenvector.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        tau: cosine above which two patches are connected, in [0, 1).
        eps: weight of an edge between patches that are not connected, in (0, 1).

    Returns:
        One proposal per image, or none if all its patches are alike, on the CPU. The score is the share of the
        affinity of the mask's patches that stays within the mask, in [0, 1].

    Raises:
        ValueError: if the features are not finite or a setting is out of range.
    """
    check_tokens(tokens)
    b, _, h, w = tokens.shape
    affinity = binary_affinity(tokens.flatten(2), tau, eps)
    cut = second_eigenvector(affinity)
    masks = np.stack([seed_mask(vector, corner_rule=False) for vector in cut.vectors.view(b, h, w).cpu().numpy()])
    masks[cut.values.cpu().numpy() >= NO_CUT] = False
    scores = cohesion(affinity, torch.from_numpy(masks).flatten(1).to(tokens.device)).tolist()
    return [to_proposals([(mask, score)], (h, w)) for mask, score in zip(masks, scores)]
