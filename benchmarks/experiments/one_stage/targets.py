"""What the student learns from: the teacher's regions of the whole image, in two groups, cropped to its views.

Shape legend
    h, w   rows and columns of the patch grid
    C, d   channels of tokens and of the encoder's map
    n      regions
    k      crops of one image
    S      side of a crop's masks
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from one_stage.settings import REGIONS, OneStageSettings
from one_stage.views import cut
from unseg_d2.masks.uniap import uniap

FEWEST_CORNERS = 2
"""Regions that hold so many corners of the image are background, and no instances."""


@dataclass(frozen=True)
class Regions:
    """The teacher's queries of one image: first those of the instance group, then those of the semantic group.

    Attributes:
        masks: ``(n, h, w)`` bool.
        features: ``(n, d)`` unit features.
        scores: ``(n,)`` contrast to the neighbours, the highest of the instances being 1.
        instances: their number.
    """

    masks: Tensor
    features: Tensor
    scores: Tensor
    instances: int


@dataclass(frozen=True)
class Targets:
    """What is left of the regions in one crop.

    Attributes:
        masks: ``(n, S, S)`` bool.
        kept: ``(n,)`` int64, which regions they are.
        instances: the number of instances, which come first.
    """

    masks: Tensor
    kept: Tensor
    instances: int


def teacher_regions(descriptors: Tensor, own: Tensor, share: float, settings: OneStageSettings) -> Regions:
    """Return the teacher's queries of one image: UniAP's regions of its map.

    Args:
        descriptors: ``(C, h, w)``, what stands for DINO's features at the first step.
        own: ``(d, h, w)``, the map of the teacher's encoder.
        share: weight of the latter, in [0, 1].
        settings: of the experiment.
    """
    tokens = unit_maps(descriptors, own, weights=(1 - share, share))
    (found,) = uniap(tokens[None], REGIONS)
    chosen, instances = groups(found.masks, settings.most_instances, settings.most_semantics)
    masks, scores = found.masks[chosen], found.scores[chosen]
    highest = scores[:instances].max() if instances else scores.new_ones(())
    features = query_features(masks, tokens, own, REGIONS.sigma)
    return Regions(masks, features, (scores / highest.clamp_min(1e-6)).clamp_max(1), instances)


def unit_maps(*maps: Tensor, weights: Sequence[float]) -> Tensor:
    """Join maps so that the cosine of two cells is the weighted mean of their cosines in each map.

    Args:
        *maps: ``(C, h, w)`` each, of one size.
        weights: not negative, sum 1.

    Returns:
        ``(sum of C, h, w)`` of unit length.
    """
    return torch.cat([math.sqrt(weight) * F.normalize(one, dim=0) for one, weight in zip(maps, weights)])


def groups(masks: Tensor, most_instances: int, most_semantics: int) -> tuple[Tensor, int]:
    """Choose the regions of both groups.

    An instance is in one piece, sides of patches touching, and holds fewer than :data:`FEWEST_CORNERS` corners of the
    image; everything else is of the semantic group.

    Args:
        masks: ``(n, h, w)`` bool, best first.
        most_instances: of the first group, the best.
        most_semantics: of the second.

    Returns:
        Positions, ``(m,)`` int64, first the instances, and how many of them there are.
    """
    corners = masks[:, [0, 0, -1, -1], [0, -1, 0, -1]].sum(1)
    pieces = torch.tensor([ndimage.label(mask)[1] for mask in masks.numpy()], dtype=torch.int64)
    is_instance = (corners < FEWEST_CORNERS) & (pieces == 1)
    instances = is_instance.nonzero()[:most_instances, 0]
    semantics = (~is_instance).nonzero()[:most_semantics, 0]
    return torch.cat([instances, semantics]), len(instances)


def query_features(masks: Tensor, tokens: Tensor, values: Tensor, sigma: float) -> Tensor:
    """Return the feature of each region by attention of its mean to all patches (equation 5 of S2-UniSeg).

    Args:
        masks: ``(n, h, w)`` bool, none empty.
        tokens: ``(C, h, w)`` of unit length, what patches are compared by.
        values: ``(d, h, w)``, what is averaged.
        sigma: temperature of the softmax.

    Returns:
        ``(n, d)`` of unit length.
    """
    flat, inside = tokens.flatten(1), masks.flatten(1).to(tokens.dtype)
    means = inside @ flat.T / inside.sum(1, keepdim=True)
    weights = (means @ flat / sigma).softmax(1)
    return F.normalize(weights @ values.flatten(1).T, dim=1)


def crop_targets(
    regions: Regions, windows: Tensor, flipped: Tensor, side: int, shares: Sequence[float]
) -> list[Targets]:
    """Crop the masks of regions to the views of the student, and drop those of which too little or no edge is seen.

    Args:
        regions: of the whole image.
        windows: ``(k, 4)`` left, top, right, bottom in [0, 1].
        flipped: ``(k,)`` bool, which views are mirrored.
        side: S.
        shares: least and largest share of the crop that a mask covers.
    """
    if not len(regions.masks):
        return [Targets(torch.zeros(0, side, side, dtype=torch.bool), torch.zeros(0, dtype=torch.int64), 0)] * len(
            windows
        )
    found = []
    for masks in cut(regions.masks.float(), windows, side, flipped) >= 0.5:
        covered = masks.flatten(1).float().mean(1)
        kept = ((covered >= shares[0]) & (covered <= shares[1])).nonzero()[:, 0]
        found.append(Targets(masks[kept], kept, int((kept < regions.instances).sum())))
    return found
