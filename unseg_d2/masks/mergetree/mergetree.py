"""Regions of a tree of merges that differ most from what they are joined with: proposals of every size, ranked.

Neighbouring patches, or superpixels, are joined by Ward's criterion until one region is left
(`unseg_d2.graph.merge_tree`). All regions of the tree are proposals, whatever their size: selective search (Uijlings et
al., IJCV 2013), there in a partly random order. Here the first is that whose merge with its neighbour costs most: the
strength of a boundary in ultrametric contour maps (Arbelaez et al., PAMI 2011, section 4). What is known of the pixels
can take part: their colour, and the edges along the border that two regions share.

Shape legend
    b      images
    H, W   height and width of the network's input in pixels
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    m      merges
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unseg_d2.errors import UnsegError
from unseg_d2.graph.merge_tree import Merges, Spans, in_pixels, spans, ward_tree
from unseg_d2.graph.regions import grid_edges
from unseg_d2.masks.batches import check_tokens, map_batches
from unseg_d2.masks.mergetree.leaves import leaves_of
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_host

ALIKE = "no region differs from what is around it"
ROUNDING = 1e-9  # height of a merge, relative to the largest number, that means of equal patches may have


@dataclass(frozen=True)
class MergeTreeSettings(Settings):
    """Settings of :func:`mergetree`; both values of ``MASKS.MODE`` mean the same here.

    The last three make use of the pixels; with one of them, masks are as fine as the network's input.
    """

    num_masks: int = setting(100, "most masks per image, the best are kept", low=1)
    max_overlap: float = setting(0.7, "IoU with a better mask above which a mask is left out", above=0, high=1)
    min_patches: int = setting(4, "smallest region that is a mask, patches", low=1)
    max_share: float = setting(0.9, "largest share of the grid that a mask covers", above=0, below=1)
    superpixels: int = setting(
        0, "about how many superpixels of the image are merged in place of patches; 0 merges patches", low=0
    )
    colour: float = setting(
        0.0, "share of colour in how much regions differ; the features have the others", low=0, high=1
    )
    contour: float = setting(
        0.0, "exponent of the edge strength along a common border, by which a merge costs more; 0 ignores edges", low=0
    )

    def of_pixels(self) -> bool:
        """Return whether the pixels of the image are needed."""
        return bool(self.superpixels or self.colour or self.contour)

    def when_empty(self) -> str:
        """Return what to change where no region is a mask."""
        return (
            f"lower MASKS.MERGETREE.MIN_PATCHES (now {self.min_patches}), or take a larger FEATURES.IMAGE_SIZE: the "
            "grid is too small for regions of so many patches, or all patches are alike."
        )


@MASK_GENERATORS.register(settings=MergeTreeSettings)
class MergeTree:
    """Mask generator that calls :func:`mergetree` with fixed settings.

    Args:
        settings: see :class:`MergeTreeSettings`; ``None`` takes the defaults.

    Attributes:
        has_levels: masks contain one another on purpose.
    """

    has_levels = True

    def __init__(self, settings: MergeTreeSettings | None = None) -> None:
        self.settings = settings or MergeTreeSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image."""
        pixels = [one.pixels for one in features]
        return map_batches(lambda tokens, shown: mergetree(tokens, self.settings, shown), features, pixels)


def mergetree(
    tokens: Tensor, settings: MergeTreeSettings | None = None, pixels: Sequence[np.ndarray | None] | None = None
) -> list[Proposals]:
    """Find regions of every size that differ from what is around them, the most distinct first.

    It runs on the CPU, one image at a time.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type; their lengths count, unlike elsewhere.
        settings: see :class:`MergeTreeSettings`; ``None`` takes the defaults.
        pixels: ``(H, W, 3)`` uint8 RGB of each image; needed with ``superpixels``, ``colour`` or ``contour`` only.

    Returns:
        Proposals per image, on the CPU, with ``levels`` (0 contains no other mask) and ``parents``; on pixels
        ``(H, W)`` where these are needed, otherwise on the grid. The score is the height of the merge that takes the
        region in, relative to the largest among the image's masks.

    Raises:
        ValueError: if the features are not finite.
        UnsegError: if pixels are needed and missing.
    """
    settings = settings or MergeTreeSettings()
    check_tokens(tokens)
    (host,) = to_host(tokens)
    found = []
    for image, shown in zip(host, pixels or [None] * len(host), strict=True):
        points, tree, places, size = _merged(image.numpy(), shown, settings)
        heights = np.where(tree.heights > ROUNDING * np.abs(points).max(), tree.heights, 0)
        scores = separation(tree.children, heights, len(points))
        found.append(_proposals(places, scores, size, settings, size[0] * size[1] / image[0].numel()))
    return found


def _merged(
    image: np.ndarray, pixels: np.ndarray | None, settings: MergeTreeSettings
) -> tuple[np.ndarray, Merges, Spans, tuple[int, int]]:
    """Return the leaves' points, their tree, and where its nodes lie on a raster of which size."""
    _, h, w = image.shape
    if not settings.of_pixels():
        points = image.reshape(len(image), -1).T.astype(np.float64)
        tree = ward_tree(points, grid_edges(h, w))
        return points, tree, spans(tree, h * w), (h, w)
    if pixels is None:
        raise UnsegError(
            "MASKS.MERGETREE.SUPERPIXELS, COLOUR and CONTOUR need the pixels of the image, which these features come "
            "without; set all three to 0, or add `pixels` to the PatchFeatures."
        )
    leaves = leaves_of(image, pixels, settings.superpixels, settings.colour)
    sizes = np.bincount(leaves.labels.ravel()) * (h * w / leaves.labels.size)
    tree = ward_tree(leaves.points, leaves.edges, sizes, leaves.borders, settings.contour)
    places = in_pixels(spans(tree, len(leaves.points)), leaves.labels)
    return leaves.points, tree, places, (pixels.shape[0], pixels.shape[1])


def separation(children: np.ndarray, heights: np.ndarray, n: int) -> np.ndarray:
    """Return how far each node is from what it is joined with: the height of the merge that takes it in.

    A merge counts as no lower than those that it joins, which neighbourhood alone does not ensure. What is never joined
    has the separation 0.

    Args:
        children: ``(m, 2)`` nodes that each merge joins.
        heights: ``(m,)`` of the merges.
        n: number of leaves.

    Returns:
        ``(n + m,)`` float64.
    """
    own = np.concatenate([np.zeros(n), heights])
    for node, pair in enumerate(children.tolist(), start=n):
        own[node] = max(own[node], own[pair[0]], own[pair[1]])
    above = np.zeros(len(own))
    above[children.ravel()] = np.repeat(own[n:], 2)
    return above


def chosen_nodes(places: Spans, scores: np.ndarray, allowed: np.ndarray, most: int, max_overlap: float) -> list[int]:
    """Return nodes in the order of their scores, without those that a better one mostly covers.

    Two regions of a tree have leaves in common only if one contains the other.

    Args:
        places: leaves or pixels of the nodes.
        scores: ``(n + m,)``.
        allowed: ``(n + m,)`` bool, nodes that may be chosen.
        most: number to choose.
        max_overlap: largest IoU of two of them.
    """
    candidates = np.flatnonzero(allowed & (scores > 0))
    chosen: list[int] = []
    for node in candidates[np.argsort(-scores[candidates], kind="stable")].tolist():
        if chosen:
            first, areas = places.first[chosen], places.areas[chosen]
            ends = np.minimum(first + areas, places.first[node] + places.areas[node])
            common = np.maximum(ends - np.maximum(first, places.first[node]), 0)
            if (common / (areas + places.areas[node] - common)).max() > max_overlap:
                continue
        chosen.append(node)
        if len(chosen) == most:
            break
    return chosen


def _proposals(
    places: Spans, scores: np.ndarray, size: tuple[int, int], settings: MergeTreeSettings, patch: float
) -> Proposals:
    """Return the masks of the chosen nodes of one image, on a raster of a size with so many cells per patch."""
    n = size[0] * size[1]
    allowed = (places.areas >= settings.min_patches * patch) & (places.areas <= settings.max_share * n)
    chosen = chosen_nodes(places, scores, allowed, settings.num_masks, settings.max_overlap)
    if not chosen:
        return Proposals.empty(size, {ALIKE: 1} if allowed.any() else {"min_patches": 1})
    masks = np.zeros((len(chosen), n), dtype=bool)
    for mask, node in zip(masks, chosen):
        mask[places.leaves(node)] = True
    levels, parents = _nesting(places, chosen)
    return Proposals(
        torch.from_numpy(masks.reshape(-1, *size)),
        torch.from_numpy(scores[chosen] / scores[chosen[0]]).float(),
        levels=levels,
        parents=parents,
    )


def _nesting(places: Spans, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the level of each chosen node, one more than those of the nodes within it, and its smallest container."""
    nodes = np.array(chosen)
    first, last = places.first[nodes], places.first[nodes] + places.areas[nodes]
    levels, parents = np.zeros(len(nodes), dtype=np.int64), np.full(len(nodes), -1)
    for i in np.argsort(places.areas[nodes], kind="stable").tolist():
        around = np.flatnonzero(
            (first <= first[i]) & (last >= last[i]) & (places.areas[nodes] > places.areas[nodes[i]])
        )
        if len(around):
            parents[i] = around[np.argmin(places.areas[nodes[around]])]
            levels[parents[i]] = max(levels[parents[i]], levels[i] + 1)
    return torch.from_numpy(levels), torch.from_numpy(parents)
