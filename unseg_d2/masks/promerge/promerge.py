"""ProMerge: many objects per image by prompting with a grid of patches and merging the masks (Li and Shin, ECCV 2024).

Shape legend
    b      images
    p      prompts: patches on a regular grid
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    m      proposals, a of them accepted; k clusters
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from unseg_d2.masks.batches import check_tokens, map_batches, to_proposals
from unseg_d2.masks.promerge.attention_prior import drop_unattended
from unseg_d2.masks.promerge.filter import cascade_filter, merge, to_masks, to_sets
from unseg_d2.masks.promerge.mean_products import Features, MeanProducts, mean_products
from unseg_d2.masks.promerge.prompts import (
    components,
    feature_lengths,
    majority,
    prompt_indices,
    sides_covered,
    similar_patches,
)
from unseg_d2.masks.registry import MASK_GENERATORS, Mode, mode_setting
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_host


@dataclass(frozen=True)
class ProMergeSettings(Settings):
    """Settings of :func:`promerge`; symbols are the names in the published code, and so are the defaults.

    ``min_attention`` is for :class:`ProMerge` only, which sees the backbone's [CLS] attention.
    """

    stride: int = setting(4, "distance between prompts in either direction", low=1)
    tau: float = setting(
        0.2,
        "affinity to a prompt above which a patch belongs to its mask",
        symbol="bipartition_tau",
        low=0,
        below=1,
    )
    min_component: float = setting(
        0.5,
        "smallest size of a component, relative to the one that holds the prompt",
        symbol="cc_maskarea_tau",
        low=0,
        high=1,
    )
    max_background: float = setting(
        0.8,
        "share of a mask's new patches in the background from which it is rejected",
        symbol="iou_filter_tau",
        low=0,
        high=1,
    )
    max_likeness: float = setting(
        0.1,
        "similarity of mean features to the background from which a mask is rejected",
        symbol="foreground_include_tau",
        low=-1,
        high=1,
    )
    merge_above: float = setting(
        0.5, "covered share of a mask above which it joins a cluster", symbol="intersection_merge_tau", low=0, high=1
    )
    compare_above: float = setting(
        0.1,
        "covered share of a mask above which it joins a cluster that looks similar",
        symbol="merge_ioa_tau",
        low=0,
        high=1,
    )
    min_similarity: float = setting(
        0.1,
        "similarity of mean features from which a mask and a cluster look similar",
        symbol="dino_merge_tau",
        low=-1,
        high=1,
    )
    min_background: float = setting(0.1, "smallest share of the grid that counts as background", low=0, high=1)
    min_attention: float = setting(
        0.0, "foreground probability by [CLS] attention below which a mask is dropped; 0 is off", low=0, below=1
    )
    mode: Mode = mode_setting()

    def when_empty(self) -> str:
        """Return what to change where ProMerge finds nothing: it has taken all masks for background."""
        return (
            f"raise MASKS.PROMERGE.MAX_LIKENESS (now {self.max_likeness:g}), from which a mask is dropped for its "
            f"likeness to the background, or MASKS.PROMERGE.TAU (now {self.tau:g})."
        )


@MASK_GENERATORS.register(settings=ProMergeSettings)
class ProMerge:
    """Mask generator that calls :func:`promerge` with fixed settings.

    Args:
        settings: see :class:`ProMergeSettings`; ``None`` takes the defaults.
    """

    def __init__(self, settings: ProMergeSettings | None = None) -> None:
        self.settings = settings or ProMergeSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image; images of one grid go through a GPU together."""
        found = map_batches(lambda tokens: promerge(tokens, self.settings), features)
        least = self.settings.min_attention
        if least == 0:
            return found
        return [drop_unattended(mine, image.attention, least) for mine, image in zip(found, features)]


def promerge(tokens: Tensor, settings: ProMergeSettings | None = None) -> list[Proposals]:
    """Find any number of objects in each image; masks may overlap.

    Every prompt, a patch on a regular grid, gives the mask of the patches similar to it. Masks that cover two sides of
    the image vote for the background; the components of the others are proposals, which are kept if they differ from
    the background and lie outside it, and merged where they overlap.

    Where the background is missing or small, the published code, and ``parity``, finds nothing in the image. A close-up
    is such an image: too little background is visible to cover two sides. In ``default`` a mask that covers one side is
    then a vote, too (it stays a proposal: the object may touch the border), and without any such mask nothing is tested
    against the background. On ECSSD with hand-made descriptors, at a tau so high that a
    third of the images has no background, this finds more than testing nothing does (best mask of IoU .5 in 18 % of
    these images instead of 12 %), with a fifth fewer masks; on crops around the objects, in 29 % instead of 23 %.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        settings: see :class:`ProMergeSettings`; ``None`` takes the defaults.

    Returns:
        Proposals per image, on the CPU. In ``parity`` scores are 1 and the clusters of the largest masks come first. In
        ``default`` the score is the contrast to the background, ``(1 - cos) / 2`` with the mean cosine between the
        mask's patches and the mean background, and the best comes first; without a background, the contrast to the
        patches of no mask.

    Raises:
        ValueError: if the features are not finite.
    """
    settings = settings or ProMergeSettings()
    check_tokens(tokens)
    h, w = tokens.shape[2:]
    results = []
    for steps in promerge_steps(tokens, settings):
        if settings.mode == "parity":
            found = [(mask, 1.0) for mask in steps.merged]
        else:
            found = sorted(zip(steps.merged, steps.contrast.tolist()), key=lambda entry: -entry[1])
        none = "prompts whose masks are all background"
        results.append(to_proposals(found, (h, w), steps.rejected, when_none=none))
    return results


@dataclass(frozen=True)
class ProMergeSteps:
    """What ProMerge finds in one image, step by step.

    Attributes:
        num_votes: prompts whose mask is a vote for the background.
        proposals: ``(m, h, w)`` bool, components of the masks of the other prompts.
        background: ``(h, w)`` bool, patches in more than half of the votes.
        accepted: ``(a, h, w)`` bool, proposals that the filter lets through, smallest first.
        merged: ``(k, h, w)`` bool, clusters of them, in the order of their largest masks.
        contrast: ``(k,)`` of the clusters to the background, in [0, 1].
        rejected: proposals that each setting turned down.
    """

    num_votes: int
    proposals: np.ndarray
    background: np.ndarray
    accepted: np.ndarray
    merged: np.ndarray
    contrast: np.ndarray
    rejected: Mapping[str, int] = field(default_factory=dict)


def promerge_steps(tokens: Tensor, settings: ProMergeSettings) -> list[ProMergeSteps]:
    """Run all steps on ``(b, C, h, w)`` finite tokens; what needs every channel runs on their device, for all images.

    Labelling, filtering and merging are on the CPU, one image at a time.
    """
    h, w = tokens.shape[2:]
    flat = tokens.flatten(2).float()
    features = Features(flat, feature_lengths(flat))
    prompts = prompt_indices(h, w, settings.stride)
    similar = similar_patches(flat, features.lengths, prompts, settings.tau).view(len(flat), -1, h, w)
    sides = sides_covered(similar)
    background, kept = _background(similar, sides, settings)
    mean = features.mean(background.flatten(1))
    likeness = features.products(mean)
    on_host = [value.numpy() for value in to_host(similar, sides, background, kept, likeness, mean.norm(dim=1))]
    images = [_filtered(prompts, settings, *image) for image in zip(*on_host)]
    products = mean_products(features, [image.accepted.reshape(-1, h * w) for image in images])
    return [image.steps(*_merged(image, mine, settings)) for image, mine in zip(images, products)]


def _background(similar: Tensor, sides: Tensor, settings: ProMergeSettings) -> tuple[Tensor, Tensor]:
    """Return the background of each image, ``(b, h, w)`` bool, and whether it is searched for objects, ``(b,)``."""
    background = majority(similar, sides >= 2)
    enough = background.float().mean((1, 2)) >= settings.min_background
    enough &= background.flatten(1).any(1)
    if settings.mode == "parity":
        return background, enough
    if enough.device.type != "cpu" or not enough.all():  # a card would be waited for
        background = torch.where(enough[:, None, None], background, majority(similar, sides >= 1))
    return background, torch.ones_like(enough)


@dataclass(frozen=True)
class _Filtered:
    """One image after the filter; fields as in :class:`ProMergeSteps`, likeness and length of the background's mean."""

    num_votes: int
    proposals: np.ndarray
    background: np.ndarray
    accepted: np.ndarray
    likeness: np.ndarray
    length: float
    rejected: Mapping[str, int]

    def steps(self, merged: np.ndarray, contrast: np.ndarray) -> ProMergeSteps:
        found = (self.num_votes, self.proposals, self.background, self.accepted)
        return ProMergeSteps(*found, merged, contrast, self.rejected)


def _filtered(
    prompts: np.ndarray,
    settings: ProMergeSettings,
    similar: np.ndarray,
    sides: np.ndarray,
    background: np.ndarray,
    kept: np.ndarray,
    likeness: np.ndarray,
    length: np.ndarray,
) -> _Filtered:
    """Label and filter the masks of one image; ``kept`` is whether it is searched for objects."""
    vote = sides >= 2
    proposals = components(similar[~vote], prompts[~vote], settings.min_component)
    rejected = Counter[str]({} if kept else {"min_background": len(proposals)})
    accepted: list[int] = []
    if kept and len(proposals):
        flat = proposals.reshape(len(proposals), -1)
        sets = to_sets(flat)
        total = flat.astype(np.float32) @ likeness
        accepted = cascade_filter(
            sets,
            [total[i] / members.bit_count() for i, members in enumerate(sets)],
            to_sets(background.reshape(1, -1))[0],
            max_background=settings.max_background,
            max_likeness=settings.max_likeness,
            rejected=rejected,
        )
    found = proposals[np.array(accepted, dtype=np.intp)]
    return _Filtered(int(vote.sum()), proposals, background, found, likeness, float(length), rejected)


def _merged(image: _Filtered, products: MeanProducts, settings: ProMergeSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return the clusters of the accepted masks, ``(k, h, w)`` bool, and their contrast to the background, ``(k,)``."""
    h, w = image.background.shape
    clusters = merge(
        to_sets(image.accepted.reshape(-1, h * w)),
        products.product,
        merge_above=settings.merge_above,
        compare_above=settings.compare_above,
        min_similarity=settings.min_similarity,
    )
    masks = to_masks(clusters, h * w)
    if not clusters:
        return masks.reshape(-1, h, w), np.zeros(0)
    if image.background.any():
        cosine = masks @ image.likeness / masks.sum(1) / max(image.length, 1e-12)
    else:
        cosine = products.cosines(clusters, to_sets(np.logical_not(masks.any(0))[None])[0])
    return masks.reshape(-1, h, w), np.clip((1 - cosine) / 2, 0, 1)
