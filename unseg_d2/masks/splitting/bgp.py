"""Masks of several objects, divided along edges: the BGP of TRACE (Jo et al., ICLR 2026).

The paper takes the edges from diffusion models, and reports that ordinary contours serve far worse; here, where edges
come from is up to the caller.

Shape legend
    n      masks
    H, W   height and width in pixels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from unseg_d2.graph.random_walk import random_walker
from unseg_d2.masks.bipartition import intersection_over_union
from unseg_d2.masks.splitting.settings import SplitSettings


@dataclass(frozen=True)
class Fragment:
    """A part of one mask, or of several whose parts turned out to be the same.

    Attributes:
        mask: ``(H, W)`` bool, not empty.
        parents: indices of the masks that it is a part of, ascending.
    """

    mask: np.ndarray
    parents: tuple[int, ...]


def split_masks(masks: np.ndarray, edges: np.ndarray, settings: SplitSettings | None = None) -> list[Fragment]:
    """Divide masks along edges, and merge the parts that are the same object.

    The edges within a mask separate it into connected parts; each part that is large enough grows back over the edges
    and what is left, as far as the mask reaches, by a random walk. Parts with an IoU above ``merge_above`` become one,
    the pair with the largest IoU first, until there is none.

    Args:
        masks: ``(n, H, W)`` bool.
        edges: ``(H, W)`` in [0, 1], large on edges.
        settings: see :class:`SplitSettings`; ``None`` takes the defaults.

    Returns:
        The parts in the order of their first mask, then of size. Together they cover what the masks cover.

    Raises:
        ValueError: if masks and edges have other shapes or types, or edges are not in [0, 1].
    """
    settings = settings or SplitSettings()
    if masks.ndim != 3 or masks.dtype != np.bool_:
        raise ValueError(f"masks must be bool of shape (n, H, W), got {masks.dtype} {masks.shape}")
    if edges.shape != masks.shape[1:]:
        raise ValueError(f"the masks have {masks.shape[1:]} pixels, the edges {edges.shape}; resize one of them")
    if edges.size and not (edges.min() >= 0 and edges.max() <= 1):  # NaN fails both
        raise ValueError("edges must lie in [0, 1]")
    found = [Fragment(part, (i,)) for i, mask in enumerate(masks) for part in parts_of(mask, edges, settings)]
    return merged(found, settings.merge_above)


def parts_of(mask: np.ndarray, edges: np.ndarray, settings: SplitSettings) -> list[np.ndarray]:
    """Divide one mask ``(H, W)`` bool; return its parts, the largest first: disjoint, and together the mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    region, strengths = mask[window], edges[window]
    pieces, _ = ndimage.label(region & (strengths < settings.strength))
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    large = np.flatnonzero(areas >= max(1, settings.min_area * np.count_nonzero(region)))
    if len(large) < 2:
        return [mask]
    order = np.zeros(len(areas), np.int64)
    order[large[np.argsort(-areas[large], kind="stable")]] = np.arange(1, len(large) + 1)
    labels = random_walker(order[pieces], region, strengths, settings.beta)
    stray = region & (labels == 0)  # not connected to any large piece
    if stray.any():
        nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
        labels = np.where(stray, labels[tuple(nearest)], labels)
    parts = []
    for label in range(1, len(large) + 1):
        part = np.zeros_like(mask)
        part[window] = labels == label
        parts.append(part)
    return sorted(parts, key=np.count_nonzero, reverse=True)


def merged(fragments: Sequence[Fragment], above: float) -> list[Fragment]:
    """Merge fragments whose IoU is above a limit, the most alike first, until there are none.

    Args:
        fragments: of one image.
        above: IoU in [0, 1].

    Returns:
        The others, and in the place of the first of each pair the union of both.
    """
    left = list(fragments)
    overlaps = {(i, j): intersection_over_union(left[i].mask, left[j].mask) for j in range(len(left)) for i in range(j)}
    gone: set[int] = set()
    while overlaps:
        (first, second), most = max(overlaps.items(), key=lambda item: item[1])
        if most <= above:
            break
        one, other = left[first], left[second]
        left[first] = Fragment(one.mask | other.mask, tuple(sorted({*one.parents, *other.parents})))
        gone.add(second)
        overlaps = {pair: value for pair, value in overlaps.items() if second not in pair}
        for pair in overlaps:
            if first in pair:
                overlaps[pair] = intersection_over_union(left[pair[0]].mask, left[pair[1]].mask)
    return [fragment for index, fragment in enumerate(left) if index not in gone]
