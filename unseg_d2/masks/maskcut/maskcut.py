"""MaskCut: several objects per image by repeated normalised cuts (Wang et al., CutLER, CVPR 2023, section 3.2).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from unseg_d2.graph.affinity import binary_affinity
from unseg_d2.graph.ncut import NO_CUT, cohesion, second_eigenvector
from unseg_d2.masks.batches import check_tokens, map_batches, to_proposals
from unseg_d2.masks.bipartition import seed_mask
from unseg_d2.masks.maskcut.parity import parity_steps
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.structures import PatchFeatures, Proposals

Mode = Literal["default", "parity"]


@MASK_GENERATORS.register()
class MaskCut:
    """Mask generator that calls :func:`maskcut` with fixed settings.

    Args:
        settings: keyword arguments of :func:`maskcut`.

    Raises:
        ValueError: if a setting is out of range.
    """

    def __init__(self, **settings: Any) -> None:
        maskcut(torch.ones(1, 1, 1, 1), **settings)  # names a wrong setting before the first image
        self.settings = settings

    @classmethod
    def from_config(cls, cfg: CfgNode) -> MaskCut:
        """Return the generator of ``cfg.MASKS.MASKCUT`` in ``cfg.MASKS.MODE``."""
        return cls(mode=cfg.MASKS.MODE, **{key.lower(): value for key, value in cfg.MASKS.MASKCUT.items()})

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image; images of one grid go through a GPU together."""
        return map_batches(lambda tokens: maskcut(tokens, **self.settings), features)


def maskcut(
    tokens: Tensor,
    *,
    tau: float = 0.15,
    eps: float = 1e-5,
    num_masks: int = 3,
    mode: Mode = "default",
    max_overlap: float = 0.5,
    min_area: float = 0.01,
) -> list[Proposals]:
    """Find up to ``num_masks`` disjoint objects in each image.

    ``default`` removes the patches of each object from the graph before the next cut and stops when the rest has no
    cut. ``parity`` does what the published code does: painted patches stay in the graph as a block that is connected
    to nothing, so that a later cut may find the same object again; it is blanked, and accepted one iteration later.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        tau: cosine above which two patches are connected, in [0, 1).
        eps: weight of an edge between patches that are not connected, in (0, 1).
        num_masks: bipartitions per image, N in the paper.
        mode: ``default`` or ``parity``.
        max_overlap: IoU with the previous mask above which a mask is a repetition (``parity`` only; masks of
            ``default`` never overlap).
        min_area: a mask after the first is dropped unless it covers more than this share of the grid.

    Returns:
        Proposals per image, on the CPU, without empty masks. Scores are 1 in ``parity``; in ``default`` the share of
        the affinity of the mask's patches that stays within the mask, in [0, 1]: 1 is an object unlike all the rest.

    Raises:
        ValueError: if the features are not finite or a setting is out of range.
    """
    if mode not in ("default", "parity"):
        raise ValueError(f"mode must be 'default' or 'parity', got '{mode}'")
    if num_masks < 1:
        raise ValueError(f"num_masks must be at least 1, got {num_masks}")
    check_tokens(tokens)
    if mode == "parity":
        steps = parity_steps(tokens, tau=tau, eps=eps, num_masks=num_masks, max_overlap=max_overlap, min_area=min_area)
        return [to_proposals([(step.output, 1.0) for step in image], tokens.shape[2:]) for image in steps]
    return _disjoint(tokens, tau, eps, num_masks, min_area)


def _disjoint(tokens: Tensor, tau: float, eps: float, num_masks: int, min_area: float) -> list[Proposals]:
    """The default mode: each cut is of the patches that no object has taken yet."""
    b, _, h, w = tokens.shape
    affinity = binary_affinity(tokens.flatten(2), tau, eps)
    live = np.ones((b, h, w), dtype=bool)
    found: list[list[tuple[np.ndarray, float]]] = [[] for _ in range(b)]
    active = list(range(b))

    def flat(maps: np.ndarray) -> Tensor:
        return torch.from_numpy(maps).flatten(1).to(tokens.device)

    for iteration in range(num_masks):
        active = [i for i in active if live[i].sum() > 1]
        if not active:
            break
        cut = second_eigenvector(affinity[active], flat(live[active]))
        vectors = cut.vectors.view(-1, h, w).cpu().numpy()
        kept = torch.nonzero(cut.values < NO_CUT)[:, 0].tolist()
        active = [active[k] for k in kept]
        if not active:
            break
        masks = np.stack([seed_mask(vectors[k], live[i]) for k, i in zip(kept, active)])
        scores = cohesion(affinity[active], flat(masks), flat(live[active])).tolist()
        for i, mask, score in zip(active, masks, scores):
            if iteration == 0 or mask.mean() > min_area:
                found[i].append((mask, score))
            live[i] &= ~mask
    return [to_proposals(masks, (h, w)) for masks in found]
