"""UniAP: masks of every level of detail from one pass over the graph of patches (S2-UniSeg, AAAI 2026).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    k      regions of a layer, of all images
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from unseg_d2.graph.regions import connected_groups
from unseg_d2.masks.batches import check_tokens, map_batches
from unseg_d2.masks.hierarchy import Layer, contrast, masks_of_layers
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.masks.uniap.patches import patch_regions
from unseg_d2.masks.uniap.regions import Regions
from unseg_d2.masks.uniap.settings import UniAPSettings
from unseg_d2.masks.uniap.similarity import weighted
from unseg_d2.masks.uniap.tokens import Rows, Tokens
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_host

ROUNDING = 1e4  # quantiles are rounded down to a multiple of 1 / ROUNDING, so that they are those of any device
SLACK = 1e-4  # far more than the float32 error of what a similarity is at most


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

    Images go through the layers together, as one graph that has no edges between them. The graph is on the CPU,
    features on the device of the tokens; on a card the host waits a few times per layer, however many images there are.

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
    return [
        masks_of_layers(
            layers,
            tokens.shape[2:],
            kinds=settings.masks,
            min_patches=settings.min_patches,
            max_share=settings.max_share,
        )
        for layers in uniap_layers(tokens, settings)
    ]


def uniap_layers(tokens: Tensor, settings: UniAPSettings) -> list[list[Layer]]:
    """Return the regions of each layer of each image, finest first, from ``(b, C, h, w)`` finite tokens."""
    unit = Tokens.of(tokens)
    regions = patch_regions(unit, settings)
    layers: list[list[Layer]] = [[] for _ in tokens]
    of_images = regions.least.reshape(len(tokens), -1)
    for taus in np.transpose([thresholds(similarity, settings) for similarity in of_images]):
        regions = _next_layer(regions, taus, unit, settings)
        groups = None if settings.masks == "instance" else semantic_groups(regions, taus, unit, settings)
        for own, layer in zip(layers, _layers(regions, groups, len(layers), settings)):
            own.append(layer)
    return layers


def thresholds(similarity: np.ndarray, settings: UniAPSettings) -> list[float]:
    """Return the threshold of each layer, see ``MASKS.UNIAP.MEASURE``; infinite where there are no edges.

    Args:
        similarity: ``(e,)`` of the neighbouring patches of an image; it is not looked at where thresholds are stated.
        settings: of the method.
    """
    if settings.measure == "similarity":
        return list(settings.taus)
    if not len(similarity):
        return [np.inf] * len(settings.taus)
    ordered = np.sort(similarity)
    least = [float(ordered[min(int(value * len(ordered)), len(ordered) - 1)]) for value in settings.taus]
    return [float((np.floor(value * ROUNDING + 0.5) - 1) / ROUNDING) for value in least]


def _next_layer(regions: Regions, taus: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> Regions:
    """Join patches, or the regions of the layer before, at the threshold ``(b,)`` of each image."""
    goes_on = np.ones(tokens.count, dtype=bool)
    while True:
        before = _counts(regions, tokens)
        wanted = np.where(goes_on, taus, np.inf)
        regions = regions.joined(regions.reaching(wanted, tokens, settings), tokens, settings)
        goes_on &= _counts(regions, tokens) < before
        if not settings.repeat or not goes_on.any():
            return regions


def _counts(regions: Regions, tokens: Tokens) -> np.ndarray:
    """Return the number of regions of each image, ``(b,)``."""
    return np.bincount(regions.partition.images, minlength=tokens.count)


def semantic_groups(regions: Regions, taus: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> np.ndarray:
    """Join regions that are alike, neighbours or not: identify and merge on the fully connected graph, once.

    Regions that are too small to be masks take no part. Profiles are compared only where features and mean profiles
    let a pair reach the threshold.

    Returns:
        ``(k,)`` int64 group of each region, -1 for those that take no part.
    """
    groups = np.full(len(regions.partition.areas), -1)
    taking = np.flatnonzero(regions.partition.areas >= settings.min_patches)
    if not len(taking):
        return groups
    rows, chosen = Rows(regions.partition.images[taking], tokens), tokens.index(taking)
    features = rows.stacked(regions.features[chosen])
    levels = rows.stacked(regions.partition.means[chosen]) @ tokens.mean
    # The mean of each profile: profiles differ by the difference of their means at least.
    (most,) = to_host(weighted(features @ features.mT, (levels - levels.mT).abs(), settings))
    image, first, second = np.nonzero(np.triu(most.numpy() >= taus[:, None, None] - SLACK, 1))
    there = second < rows.counts[image]
    ends = rows.firsts[image[there]] + np.stack([first[there], second[there]])
    reached = regions.pairs_reaching(taking[ends], taus, tokens, settings)
    _, groups[taking] = connected_groups(len(taking), ends[:, reached])
    return groups


def _layers(regions: Regions, groups: np.ndarray | None, count: int, settings: UniAPSettings) -> list[Layer]:
    """Return the layer of each image, whose regions and groups are numbered from 0 on; small regions score 0."""
    partition = regions.partition
    scores = contrast(regions.edges, len(partition.areas), regions.least)
    scores[partition.areas < settings.min_patches] = 0  # of these only bounds of the similarity are known
    bounds = np.searchsorted(partition.images, np.arange(count + 1)).tolist()
    layers = []
    for labels, first, end in zip(partition.labels.reshape(count, -1), bounds, bounds[1:]):
        own = None if groups is None else groups[first:end]
        if own is not None and (own >= 0).any():
            own = np.where(own < 0, own, own - own[own >= 0].min())
        layers.append(Layer(labels - first, partition.areas[first:end], scores[first:end], own))
    return layers
