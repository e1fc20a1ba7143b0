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
from functools import cached_property

import numpy as np
from scipy import ndimage

from unseg_d2.graph.random_walk import random_walker
from unseg_d2.masks.bipartition import intersection_over_union
from unseg_d2.masks.splitting.box_fit import Box, box_of
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

    @cached_property
    def box(self) -> Box:
        """Its box.

        Raises:
            ValueError: it is empty.
        """
        found = box_of(self.mask)
        if found is None:
            raise ValueError("a fragment is empty")
        return found

    def iou(self, other: Fragment) -> float:
        """Return the intersection over union with another one; pixels are only looked at where the boxes overlap."""
        return intersection_over_union(self.mask, other.mask) if self.box.clipped(other.box).area else 0.0


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
    check_masks(masks, edges.shape, "edges")
    if edges.size and not (edges.min() >= 0 and edges.max() <= 1):  # NaN fails both
        raise ValueError("edges must lie in [0, 1]")
    found = [Fragment(part, (i,)) for i, mask in enumerate(masks) for part in parts_of(mask, edges, settings)]
    return merged(found, settings.merge_above)


def check_masks(masks: np.ndarray, size: tuple[int, ...], what: str) -> None:
    """Raise ValueError unless masks are ``(n, H, W)`` bool, and what divides them has their size."""
    if masks.ndim != 3 or masks.dtype != np.bool_:
        raise ValueError(f"masks must be bool of shape (n, H, W), got {masks.dtype} {masks.shape}")
    if size != masks.shape[1:]:
        raise ValueError(f"the masks have {masks.shape[1:]} pixels, the {what} {size}; resize one of them")


def parts_of(mask: np.ndarray, edges: np.ndarray, settings: SplitSettings) -> list[np.ndarray]:
    """Divide one mask ``(H, W)`` bool; return its parts, the largest first: disjoint, and together the mask."""
    box = box_of(mask)
    if box is None:
        return []
    region, strengths = mask[box.window], edges[box.window]
    pieces, _ = ndimage.label(region & (strengths < settings.strength))
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    large = np.flatnonzero(areas >= max(1, settings.min_area * np.count_nonzero(region)))
    if len(large) < 2:
        return [mask]
    order = np.zeros(len(areas), np.int64)
    order[large[np.argsort(-areas[large], kind="stable")]] = np.arange(1, len(large) + 1)
    return parts_of_labels(shared_out(order[pieces], region, strengths, settings.beta), mask, box.window)


def shared_out(labels: np.ndarray, region: np.ndarray, edges: np.ndarray, beta: float) -> np.ndarray:
    """Give all pixels of a region a label: by a random walk, and where none reaches a label, that of the nearest pixel.

    Args:
        labels: ``(h, w)`` int, from 1 on, 0 where one is wanted; at least one pixel of the region has one.
        region: ``(h, w)`` bool.
        edges: ``(h, w)`` in [0, 1], see `random_walker`.
        beta: how seldom a walk crosses an edge.
    """
    labels = random_walker(labels, region, edges, beta)
    stray = region & (labels == 0)  # connected to no label
    if stray.any():
        nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
        labels = np.where(stray, labels[tuple(nearest)], labels)
    return labels


def parts_of_labels(labels: np.ndarray, mask: np.ndarray, window: tuple[slice, slice]) -> list[np.ndarray]:
    """Return the pixels of each label from 1 on as ``(H, W)`` bool, the largest part first.

    Args:
        labels: ``(h, w)`` int, in a window of the image.
        mask: ``(H, W)`` bool, whose shape counts.
        window: where the labels lie.
    """
    parts = []
    for label in range(1, int(labels.max()) + 1):
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
    overlaps = {(i, j): left[i].iou(left[j]) for j in range(len(left)) for i in range(j)}
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
                overlaps[pair] = left[pair[0]].iou(left[pair[1]])
    return [fragment for index, fragment in enumerate(left) if index not in gone]
