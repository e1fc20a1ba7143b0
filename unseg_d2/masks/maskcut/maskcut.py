"""MaskCut: several objects per image by repeated normalised cuts (Wang et al., CutLER, CVPR 2023, section 3.2).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unseg_d2.graph.affinity import BinaryAffinity, binary_affinity
from unseg_d2.graph.ncut import cohesion, second_eigenvector, usable_vectors
from unseg_d2.masks.batches import check_shape, map_batches, to_proposals
from unseg_d2.masks.bipartition import NO_CUT_REASON, change_tau
from unseg_d2.masks.maskcut.parity import parity_steps
from unseg_d2.masks.priors import Guide, PriorSettings, guides, unions_of_heads
from unseg_d2.masks.registry import MASK_GENERATORS, Mode, Stop, check_stop, mode_setting, stop_setting
from unseg_d2.settings import Settings, nested, setting
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_card


@dataclass(frozen=True)
class MaskCutSettings(Settings):
    """Settings of :func:`maskcut`."""

    tau: float = setting(0.15, "cosine above which two patches are connected", symbol="tau^ncut", low=0, below=1)
    eps: float = setting(1e-5, "weight of an edge between patches that are not connected", low=0, below=1)
    num_masks: int = setting(3, "number of cuts per image", symbol="N", low=1)
    max_overlap: float = setting(
        0.5, "in parity mode: IoU with the previous mask above which a mask is a repetition", low=0, high=1
    )
    min_area: float = setting(0.01, "share of the grid that each mask after the first must exceed", low=0, high=1)
    mode: Mode = mode_setting()
    stop: Stop = stop_setting()
    prior: PriorSettings = nested(PriorSettings)

    def check(self) -> None:
        """Raise ValueError where the end of the cuts contradicts the mode."""
        check_stop(self.stop, self.mode)

    def asks_for_union(self) -> bool:
        """Return whether a foreground union guides the cuts."""
        return self.stop == "prior"

    def when_empty(self) -> str:
        """Return what to change where there is no cut."""
        return change_tau("MASKS.MASKCUT.TAU", self.tau)


@MASK_GENERATORS.register(settings=MaskCutSettings)
class MaskCut:
    """Mask generator that calls :func:`maskcut` with fixed settings.

    Args:
        settings: see :class:`MaskCutSettings`; ``None`` takes the defaults.
    """

    def __init__(self, settings: MaskCutSettings | None = None) -> None:
        self.settings = settings or MaskCutSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image; images of one grid go through a GPU together."""
        unions = unions_of_heads(features, self.settings.prior, asked=self.settings.asks_for_union())
        beside = [] if unions is None else [unions]
        return map_batches(lambda tokens, *unions: maskcut(tokens, self.settings, *unions), features, *beside)


def maskcut(
    tokens: Tensor, settings: MaskCutSettings | None = None, unions: Sequence[np.ndarray] | None = None
) -> list[Proposals]:
    """Find up to ``num_masks`` disjoint objects in each image.

    ``default`` removes the patches of each object from the graph before the next cut and stops when the rest has no
    cut. ``parity`` does what the published code does: painted patches stay in the graph as a block that is connected
    to nothing, so that a later cut may find the same object again; it is blanked, and accepted one iteration later.

    With ``stop`` at ``prior``, ``num_masks`` is the largest number of cuts. The foreground union of the image chooses
    the side of each cut, and the search ends earlier where it is covered, or where a mask does not lie in it; see
    :class:`~unseg_d2.masks.priors.guide.Guide`.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        settings: see :class:`MaskCutSettings`; ``None`` takes the defaults.
        unions: b foreground unions ``(h, w)`` bool for ``prior``; ``None`` takes UnionCut's.

    Returns:
        Proposals per image, on the CPU, without empty masks. Scores are 1 in ``parity``; in ``default`` the share of
        the affinity of the mask's patches that stays within the mask, in [0, 1]: 1 is an object unlike all the rest.

    Raises:
        ValueError: if the features are not finite, a union has another grid, or unions are given that have no effect.
    """
    settings = settings or MaskCutSettings()
    check_shape(tokens)
    guided = guides(tokens, settings.prior, asked=settings.asks_for_union(), unions=unions)
    h, w = tokens.shape[2:]
    if settings.mode == "parity":
        steps = parity_steps(
            tokens,
            tau=settings.tau,
            eps=settings.eps,
            num_masks=settings.num_masks,
            max_overlap=settings.max_overlap,
            min_area=settings.min_area,
        )
        return [
            to_proposals([(step.output, 1.0) for step in image], (h, w), when_none=NO_CUT_REASON) for image in steps
        ]
    return _disjoint(tokens, settings, guided)


@dataclass
class _Object:
    """One cut of one image: the mask, the patches that were left for it, whether it is kept, and its score if so."""

    image: int
    mask: np.ndarray
    live: np.ndarray
    kept: bool
    score: float = 0.0


def _disjoint(tokens: Tensor, settings: MaskCutSettings, guided: Sequence[Guide]) -> list[Proposals]:
    """The default mode: each cut is of the patches that no object has taken yet."""
    b, _, h, w = tokens.shape
    affinity = binary_affinity(tokens.flatten(2), settings.tau, settings.eps)
    live = np.ones((b, h, w), dtype=bool)
    objects: list[_Object] = []
    active = list(range(b))
    for iteration in range(settings.num_masks):
        active = [i for i in active if live[i].sum() > 1]
        if not active:
            break
        left = to_card(torch.from_numpy(live[active]).flatten(1), tokens.device)
        vectors = usable_vectors(second_eigenvector(affinity[active], left)).reshape(-1, h, w)
        cuts = [(i, vector) for i, vector in zip(active, vectors) if vector.any()]
        active = []
        for i, vector in cuts:
            mask = guided[i].mask(vector, live[i], first=iteration == 0)
            if iteration and guided[i].refuses(mask):
                continue  # what is left is background
            kept = iteration == 0 or bool(mask.mean() > settings.min_area)
            objects.append(_Object(i, mask, live[i].copy(), kept))
            live[i] &= ~mask
            if not guided[i].is_covered(~live[i]):
                active.append(i)
    _score(affinity, [found for found in objects if found.kept])
    return [_proposals([found for found in objects if found.image == i], (h, w)) for i in range(b)]


def _score(affinity: BinaryAffinity, objects: list[_Object]) -> None:
    """Set the score of each object: its cohesion among the patches that were left for it."""
    if not objects:
        return
    device = affinity.bits.device
    masks, live = (np.stack([getattr(found, name).ravel() for found in objects]) for name in ("mask", "live"))
    graphs = affinity[[found.image for found in objects]]
    scores = cohesion(graphs, *(to_card(torch.from_numpy(maps), device) for maps in (masks, live)))
    for found, score in zip(objects, scores.tolist()):
        found.score = score


def _proposals(objects: list[_Object], grid: tuple[int, int]) -> Proposals:
    """Return the proposals of one image from its cuts, in order."""
    kept = [(found.mask, found.score) for found in objects if found.kept]
    return to_proposals(kept, grid, {"min_area": len(objects) - len(kept)}, when_none=NO_CUT_REASON)
