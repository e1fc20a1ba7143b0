"""CutS3D: normalised cuts whose masks are cut again in 3D (Sick et al., ICCV 2025, sections 3.1 to 3.4).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from unseg_d2.graph.affinity import BinaryAffinity, binary_affinity
from unseg_d2.graph.ncut import second_eigenvector, usable_vectors
from unseg_d2.graph.sharpening import Pairing, PairThresholds
from unseg_d2.masks.batches import check_shape, map_batches, to_proposals
from unseg_d2.masks.bipartition import (
    NO_CUT_REASON,
    change_tau,
    connected_component,
    intersection_over_union,
)
from unseg_d2.masks.cuts3d.localcut import LocalCutSettings, cut_mask
from unseg_d2.masks.cuts3d.point_cloud import point_cloud, relief
from unseg_d2.masks.cuts3d.spatial_confidence import confidence_score
from unseg_d2.masks.cuts3d.spatial_importance import spatial_importance
from unseg_d2.masks.priors import Guide, PriorSettings, guides, unions_of_heads
from unseg_d2.masks.registry import MASK_GENERATORS, Mode, Stop, check_stop, mode_setting, stop_setting
from unseg_d2.settings import Settings, nested, setting
from unseg_d2.structures import DepthMap, PatchFeatures, Proposals
from unseg_d2.transfer import to_card, to_host

Removal = Literal["remove", "zero"]


@dataclass(frozen=True)
class CutS3DSettings(Settings):
    """Settings of :func:`cuts3d`. The authors publish no code; [...] says where a default comes from.

    [paper]: stated in its text; [notes]: reported by readers of its final version; [MaskCut]: taken from the method it
    builds on; [inferred]: our choice where the paper is silent; benchmarks/cuts3d.py measures those that matter.

    ``remove`` takes the patches of a mask out of the graph; ``zero`` leaves them in it, connected to nothing.
    ``connected``, ``importance`` and ``local_cut`` can each be switched off.
    """

    tau: float = setting(
        0.15, "cosine above which two patches are connected [MaskCut]", symbol="tau^ncut", low=0, below=1
    )
    eps: float = setting(1e-5, "weight of an edge between patches that are not connected [MaskCut]", low=0, below=1)
    num_masks: int = setting(3, "number of cuts per image [MaskCut; the text lacks the number]", symbol="N", low=1)
    min_area: float = setting(
        0.01, "share of the grid that each mask after the first must exceed [MaskCut]", low=0, high=1
    )
    removal: Removal = setting(
        "remove",
        "what happens to a mask's patches: remove (from the graph) [paper] | zero (disconnect) [MaskCut]",
        choices=get_args(Removal),
    )
    max_rest: float = setting(
        0.9,
        "IoU with all remaining patches above which a semantic mask ends the search [paper; number inferred]",
        low=0,
        high=1,
    )
    min_rest: float = setting(0.01, "share of the grid that must remain for another cut [inferred]", low=0, high=1)
    connected: bool = setting(
        True, "keep only the connected part of a semantic mask around the peak [MaskCut; paper: unclear]"
    )
    importance: bool = setting(True, "sharpen the affinity by Spatial Importance [paper]")
    sigma: float = setting(
        3.0, "standard deviation of the Gaussian G [inferred]", symbol="sigma", unit="patches", above=0
    )
    beta: float = setting(0.45, "lowest Spatial Importance [notes]", symbol="beta", low=0, below=1)
    pairing: Pairing = setting(
        "mean",
        "how the Spatial Importance of two patches is combined: mean | product | max | row [inferred]",
        choices=get_args(Pairing),
    )
    compensate: bool = setting(
        True, "use tau^(1 - beta) as threshold, so that flat regions connect as in MaskCut [inferred]"
    )
    local_cut: bool = setting(True, "cut the semantic masks in 3D [paper]; otherwise their confidence is 1")
    local: LocalCutSettings = nested(LocalCutSettings)
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
        return change_tau("MASKS.CUTS3D.TAU", self.tau)


@MASK_GENERATORS.register(settings=CutS3DSettings)
class CutS3D:
    """Mask generator that calls :func:`cuts3d` with fixed settings.

    The authors publish no code. ``parity`` is the paper read word by word, see `literal`.

    Args:
        settings: `CutS3DSettings`; ``None`` takes the defaults.
    """

    needs_depth = True  # checked before the first image, not for each

    def __init__(self, settings: CutS3DSettings | None = None) -> None:
        settings = settings or CutS3DSettings()
        self.settings = literal(settings) if settings.mode == "parity" else settings

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image; images of one grid go through a GPU together.

        Raises:
            ValueError: if an image has no depth, or `cuts3d` raises it.
        """
        return [_proposals(trace) for trace in self.traces(features)]

    def traces(self, features: Sequence[PatchFeatures]) -> list[CutS3DTrace]:
        """Return how the generator arrives at the proposals of each image."""
        depths = [image.depth for image in features if image.depth is not None]
        if len(depths) < len(features):
            raise ValueError("CutS3D needs depth for every image; set DEPTH.SOURCE")
        unions = unions_of_heads(features, self.settings.prior, asked=self.settings.asks_for_union())
        beside = [depths] if unions is None else [depths, unions]
        return map_batches(
            lambda tokens, *known: cuts3d_traces(tokens, known[0], self.settings, *known[1:]), features, *beside
        )


def literal(settings: CutS3DSettings) -> CutS3DSettings:
    """Return the settings with every choice made literally as the text of the paper states it.

    The threshold is not adapted to the sharpened affinity; the point cloud contains only the points of the semantic
    mask; the weight of an edge is its length; the sink is the smallest absolute entry of the eigenvector; degenerate
    cuts are kept and there are no additional seeds. Such a minimum cut often severs a single point: what the paper
    states cannot be all that its authors did.
    """
    local = replace(
        settings.local,
        depth_axis="depth",
        z_scale=1.0,
        point_set="v1",
        capacity="distance",
        sink="absolute",
        seeds=1,
        min_area=0.0,
    )
    return replace(settings, compensate=False, connected=False, local=local)


@dataclass(frozen=True)
class CutS3DStep:
    """One normalised cut of one image; all maps ``(h, w)``.

    Attributes:
        eigenvector: float64, larger in the foreground; 0 on patches that were removed before.
        semantic: bool, the mask that the normalised cut gives.
        mask: bool, what LocalCut keeps of it.
        confidence: float32 spatial confidence, 0 outside the mask.
        accepted: whether the mask becomes a proposal.
    """

    eigenvector: np.ndarray
    semantic: np.ndarray
    mask: np.ndarray
    confidence: np.ndarray
    accepted: bool


@dataclass(frozen=True)
class CutS3DTrace:
    """How CutS3D arrived at the proposals of one image.

    Attributes:
        distance: ``(h, w)`` float64 depth as LocalCut uses it, far is large.
        importance: ``(h, w)`` float64, or ``None`` where it is off or depth is flat.
        density: share of the pairs of patches that are connected, in [0, 1].
        steps: its cuts, in order.
    """

    distance: np.ndarray
    importance: np.ndarray | None
    density: float
    steps: list[CutS3DStep]


def cuts3d(
    tokens: Tensor,
    depth: Sequence[DepthMap],
    settings: CutS3DSettings | None = None,
    unions: Sequence[np.ndarray] | None = None,
) -> list[Proposals]:
    """Find up to ``num_masks`` disjoint objects in each image.

    With ``stop`` at ``prior`` the foreground union of the image chooses the side of each cut and ends the search
    earlier; see :class:`~unseg_d2.masks.priors.guide.Guide`.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        depth: of each image, ``(h, w)``, of any kind.
        settings: `CutS3DSettings`; ``None`` takes the defaults.
        unions: b foreground unions ``(h, w)`` bool for ``prior``; ``None`` takes UnionCut's.

    Returns:
        Proposals per image in the order in which they are found, on the CPU, with spatial confidence, whose mean
        within the mask is the score; without empty masks.

    Raises:
        ValueError: if features or depth are not finite, the depth or the union of an image does not have its grid, or
            unions are given that have no effect.
    """
    return [_proposals(trace) for trace in cuts3d_traces(tokens, depth, settings, unions)]


def cuts3d_traces(
    tokens: Tensor,
    depth: Sequence[DepthMap],
    settings: CutS3DSettings | None = None,
    unions: Sequence[np.ndarray] | None = None,
) -> list[CutS3DTrace]:
    """Run :func:`cuts3d` and return every step of it, for pictures and ablations."""
    settings = settings or CutS3DSettings()
    check_shape(tokens)
    b, _, h, w = tokens.shape
    distances = _distances(depth, (h, w), settings)
    importance = [_importance(distance, settings) for distance in distances]
    affinity = binary_affinity(tokens.flatten(2), [_threshold(image, settings) for image in importance], settings.eps)
    densities = affinity.density().tolist()
    traces = [CutS3DTrace(*image, []) for image in zip(distances, importance, densities, strict=True)]
    guided = guides(tokens, settings.prior, asked=settings.asks_for_union(), unions=unions)
    live = np.ones((b, h, w), dtype=bool)
    active = list(range(b))
    for _ in range(settings.num_masks):
        active = [i for i in active if live[i].sum() > max(1, settings.min_rest * h * w)]
        if not active:
            break
        cut, vectors = _eigenvectors(affinity, live, active, settings.removal)
        active = []
        for i, vector in zip(cut, vectors):
            step = _step(vector, live[i], traces[i], guided[i], settings)
            if step is not None:
                traces[i].steps.append(step)
                live[i] &= ~step.mask
                if not guided[i].is_covered(~live[i]):
                    active.append(i)
    return traces


def _distances(depths: Sequence[DepthMap], grid: tuple[int, int], settings: CutS3DSettings) -> list[np.ndarray]:
    """Depth of each image as LocalCut uses it, ``(h, w)``, far is large."""
    for image in depths:
        if tuple(image.depth.shape) != grid:
            raise ValueError(f"the patch grid is {grid}, but the depth is {tuple(image.depth.shape)}")
    local = settings.local
    return [
        relief(depth.numpy(), image.kind, axis=local.depth_axis, percentile=local.percentile)
        for image, depth in zip(depths, to_host(*(image.depth for image in depths)))
    ]


def _importance(distance: np.ndarray, settings: CutS3DSettings) -> np.ndarray | None:
    return spatial_importance(distance, settings.sigma, settings.beta) if settings.importance else None


def _threshold(importance: np.ndarray | None, settings: CutS3DSettings) -> float | PairThresholds:
    """Threshold on the cosines of one image: one for all pairs where the affinity is not sharpened."""
    if importance is None:
        return settings.tau
    thresholds = PairThresholds(settings.tau, torch.from_numpy(importance).flatten(), settings.pairing)
    return thresholds.compensated(settings.beta) if settings.compensate else thresholds


def _eigenvectors(
    affinity: BinaryAffinity, live: np.ndarray, active: list[int], removal: Removal
) -> tuple[list[int], np.ndarray]:
    """Cut the graphs of the active images; images that have no cut are no longer active."""
    nodes = to_card(torch.from_numpy(live[active]).flatten(1), affinity.bits.device)
    graphs = affinity[active]
    cut = second_eigenvector(graphs, nodes) if removal == "remove" else second_eigenvector(graphs.isolate(~nodes))
    vectors = usable_vectors(cut).reshape(-1, *live.shape[1:])
    kept = [k for k, vector in enumerate(vectors) if vector.any()]
    return [active[k] for k in kept], vectors[kept]


def _step(
    vector: np.ndarray, live: np.ndarray, trace: CutS3DTrace, guide: Guide, settings: CutS3DSettings
) -> CutS3DStep | None:
    """Turn an eigenvector into a mask; ``None`` if it shows nothing new, which ends the image."""
    side, seed = guide.side(vector, live if settings.removal == "remove" else None, first=not trace.steps)
    if not side.any():
        return None
    vector = vector if side.flat[np.argmax(np.where(live, vector, -np.inf))] else -vector
    semantic = (connected_component(side, seed) if settings.connected else side) & live
    taken = ~live
    if not semantic.any() or (taken.any() and intersection_over_union(semantic, live) > settings.max_rest):
        return None
    if settings.local_cut:
        mask, confidence = cut_mask(
            semantic, point_cloud(trace.distance, settings.local.z_scale), vector, settings.local
        )
    else:
        mask, confidence = semantic, semantic.astype(np.float32)
    if trace.steps and guide.refuses(mask):
        return None
    accepted = not trace.steps or mask.mean() > settings.min_area
    return CutS3DStep(vector, semantic, mask, confidence, accepted)


def _proposals(trace: CutS3DTrace) -> Proposals:
    steps = [step for step in trace.steps if step.accepted]
    scored = [(step.mask, confidence_score(step.confidence, step.mask)) for step in steps]
    rejected = {
        "min_area": len(trace.steps) - len(steps),
        "masks that the cut in 3D empties": sum(not step.mask.any() for step in steps),
    }
    proposals = to_proposals(scored, trace.distance.shape, rejected, when_none=NO_CUT_REASON)
    if not steps:
        return proposals
    return replace(proposals, confidence=torch.from_numpy(np.stack([step.confidence for step in steps])))
