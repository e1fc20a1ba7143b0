"""UniAP: masks of every level of detail from one pass over the graph of patches (S2-UniSeg, AAAI 2026).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    k      regions of a layer
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unseg_d2.graph.regions import connected_groups
from unseg_d2.masks.batches import check_tokens, map_batches
from unseg_d2.masks.hierarchy import Layer, contrast, masks_of_layers
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.masks.uniap.regions import Regions, Tokens, weighted
from unseg_d2.masks.uniap.settings import UniAPSettings
from unseg_d2.masks.uniap.similarity import distances, reaches
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_card, to_host

ROUNDING = 1e4  # quantiles are rounded down to a multiple of 1 / ROUNDING, so that they are those of any device


@MASK_GENERATORS.register(settings=UniAPSettings)
class UniAP:
    """Mask generator that calls :func:`uniap` with fixed settings.

    Args:
        settings: see :class:`UniAPSettings`; ``None`` takes the defaults.

    Attributes:
        has_levels: masks contain one another on purpose.
    """

    has_levels = True

    def __init__(self, settings: UniAPSettings | None = None) -> None:
        self.settings = settings or UniAPSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image."""
        return map_batches(lambda tokens: uniap(tokens, self.settings), features)


def uniap(tokens: Tensor, settings: UniAPSettings | None = None) -> list[Proposals]:
    """Find regions of every level of detail, which lie within each other (S2-UniSeg, section 3.2).

    Patches are the nodes of a graph of neighbours. Each layer joins, all at once, the connected groups of edges whose
    similarity reaches the layer's threshold, and gives each new region a feature by attention (equation 5); the next
    layer begins with these. Semantic masks join regions of one layer wherever they lie.

    The graph is on the CPU, features on the device of the tokens; on a card the host waits at most four times per
    layer and image.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        settings: see :class:`UniAPSettings`; ``None`` takes the defaults.

    Returns:
        Proposals per image, on the CPU, each mask once, in the finest layer that has it, with ``levels`` (0 is the
        finest) and ``parents``. The paper gives no score; here it is the contrast to the neighbours, ``(1 - s) / 2``
        with the mean similarity ``s`` over the edges around the region, in [0, 1]; that of a semantic mask is the mean
        of its regions', by area. The best comes first.

    Raises:
        ValueError: if the features are not finite.
    """
    settings = settings or UniAPSettings()
    check_tokens(tokens)
    results = []
    for image in tokens:
        layers = uniap_layers(image, settings)
        found = masks_of_layers(
            layers,
            image.shape[1:],
            kinds=settings.masks,
            min_patches=settings.min_patches,
            max_share=settings.max_share,
        )
        results.append(found)
    return results


def uniap_layers(tokens: Tensor, settings: UniAPSettings) -> list[Layer]:
    """Return the regions of each layer of one image, finest first, from ``(C, h, w)`` finite tokens."""
    unit = Tokens.of(tokens)
    regions = Regions.patches(unit)
    similarity = regions.similarities(settings)
    layers = []
    for tau in thresholds(similarity, settings):
        while True:
            before = regions
            along = _reaching(regions, regions.edges, similarity, tau, unit, settings)
            regions = regions.joined(along, unit, settings)
            if regions is not before:
                similarity = regions.similarities(settings)
            if not settings.repeat or len(regions.areas) == len(before.areas):
                break
        groups = None if settings.masks == "instance" else semantic_groups(regions, tau, unit, settings)
        layers.append(
            Layer(regions.labels, regions.areas, contrast(regions.edges, len(regions.areas), similarity), groups)
        )
    return layers


def thresholds(similarity: np.ndarray, settings: UniAPSettings) -> list[float]:
    """Return the threshold of each layer, see ``MASKS.UNIAP.MEASURE``; infinite where there are no edges.

    Args:
        similarity: ``(e,)`` of neighbouring patches.
        settings: of the method.
    """
    if settings.measure == "similarity":
        return list(settings.taus)
    if not len(similarity):
        return [np.inf] * len(settings.taus)
    ordered = np.sort(similarity)
    least = [float(ordered[min(int(value * len(ordered)), len(ordered) - 1)]) for value in settings.taus]
    return [float((np.floor(value * ROUNDING + 0.5) - 1) / ROUNDING) for value in least]


def semantic_groups(regions: Regions, tau: float, tokens: Tokens, settings: UniAPSettings) -> np.ndarray:
    """Join regions that are alike, neighbours or not: identify and merge on the fully connected graph, once.

    Regions that are too small to be masks take no part. Profiles are compared only where features and mean profiles
    let a pair reach the threshold.

    Returns:
        ``(k,)`` int64 group of each region, -1 for those that take no part.
    """
    groups = np.full(len(regions.areas), -1)
    taking = np.flatnonzero(regions.areas >= settings.min_patches)
    if not len(taking):
        return groups
    chosen = to_card(torch.from_numpy(taking), tokens.single.device)
    features, means = regions.features[chosen], regions.means[chosen]
    alike = features @ features.T
    level = means @ tokens.single.mean(0)  # mean of each profile: profiles differ by the difference at least
    most = weighted(alike, (level[:, None] - level).abs(), settings)
    (most,) = to_host(most)
    first, second = np.nonzero(np.triu(most.numpy() >= tau - 1e-4, 1))
    pairs = np.stack([taking[first], taking[second]])
    similarity = _similarities(regions, pairs, tokens, settings)
    _, groups[taking] = connected_groups(
        len(taking), np.stack([first, second])[:, _reaching(regions, pairs, similarity, tau, tokens, settings)]
    )
    return groups


def _similarities(regions: Regions, pairs: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> np.ndarray:
    """Return how alike pairs ``(2, p)`` of any regions are, ``(p,)`` float32."""
    first, second = to_card(torch.from_numpy(pairs), tokens.single.device)
    alike = (regions.features[first] * regions.features[second]).sum(1)
    apart = distances(regions.means, tokens.single, pairs, regions.profiles)
    (similarity,) = to_host(weighted(alike, apart, settings))
    return similarity.numpy()


def _reaching(
    regions: Regions, pairs: np.ndarray, similarity: np.ndarray, tau: float, tokens: Tokens, settings: UniAPSettings
) -> np.ndarray:
    """Return which pairs reach a threshold, ``(p,)`` bool, decided in float64 where it is close."""
    return reaches(similarity, tau, lambda near: regions.exact(pairs[:, near], tokens, settings))
