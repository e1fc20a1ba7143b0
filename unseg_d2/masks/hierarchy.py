"""From the layers of a method that joins regions to masks, each with its layer and the mask that contains it.

Shape legend
    h, w   rows and columns of the patch grid, n = h w patches
    t      layers, finest first
    k      regions of a layer
    m      masks
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from unseg_d2.structures import Proposals

NONE = -1


@dataclass(frozen=True)
class Layer:
    """Regions that cover an image; each is a union of regions of the layer before.

    Attributes:
        labels: ``(n,)`` int64, region of each patch; regions are numbered by their first patches.
        areas: ``(k,)`` int64, patches.
        scores: ``(k,)`` in [0, 1].
        groups: ``(k,)`` int64, regions of one number are one semantic mask, -1 is none; ``None`` without such masks.
    """

    labels: np.ndarray
    areas: np.ndarray
    scores: np.ndarray
    groups: np.ndarray | None = None


def contrast(edges: np.ndarray, k: int, similarity: np.ndarray) -> np.ndarray:
    """Return how much each region differs from its neighbours, ``(1 - s) / 2`` with their mean similarity s, ``(k,)``.

    Args:
        edges: ``(2, e)`` pairs of neighbours.
        k: number of regions; the contrast of one without neighbours is 0.
        similarity: ``(e,)`` in [-1, 1].
    """
    ends, values = edges.ravel(), np.tile(similarity.astype(np.float64), 2)
    count = np.bincount(ends, minlength=k)
    mean = np.bincount(ends, values, minlength=k) / np.maximum(count, 1)
    return np.where(count > 0, np.clip((1 - mean) / 2, 0, 1), 0.0)


@dataclass
class _Masks:
    """The masks so far: the patches of each, its score and its layer."""

    patches: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    known: dict[bytes, int] = field(default_factory=dict)

    def place(self, patches: np.ndarray, score: float, level: int) -> int:
        """Return the number of a mask, a new one if it is not known."""
        number = self.known.setdefault(patches.tobytes(), len(self.patches))
        if number == len(self.patches):
            self.patches.append(patches)
            self.scores.append(score)
            self.levels.append(level)
        return number


def masks_of_layers(
    layers: Sequence[Layer],
    grid: tuple[int, int] | torch.Size,
    *,
    kinds: Literal["instance", "semantic", "both"],
    min_patches: int,
    max_share: float,
) -> Proposals:
    """Return the masks of all layers, each once.

    Args:
        layers: finest first.
        grid: ``(h, w)``.
        kinds: ``instance`` takes regions, ``semantic`` groups of regions, ``both`` these two.
        min_patches: smallest area of a mask.
        max_share: largest share of the grid.

    Returns:
        Proposals, those of the highest score first. The level of a mask is the first layer that has it; its parent is
        the smallest region of a later layer that contains it, or where there is none the smallest group of regions.
    """
    h, w = grid
    found, limits = _Masks(), (min_patches, int(max_share * h * w))
    tables = [_table(found, layer, level, kinds, limits) for level, layer in enumerate(layers)]
    areas = layers[-1].areas
    rejected = Counter(min_patches=int((areas < limits[0]).sum()), max_share=int((areas > limits[1]).sum()))
    if not found.patches:
        return Proposals.empty((h, w), dict(+rejected))
    parents = [_parent(found, mask, tables) for mask in range(len(found.patches))]
    order = sorted(range(len(parents)), key=lambda mask: -found.scores[mask])
    places = np.empty(len(order) + 1, dtype=np.int64)
    places[order], places[NONE] = np.arange(len(order)), NONE
    masks = np.zeros((len(order), h * w), dtype=bool)
    for row, mask in zip(masks, order):
        row[found.patches[mask]] = True
    return Proposals(
        torch.from_numpy(masks.reshape(-1, h, w)),
        torch.tensor([found.scores[mask] for mask in order], dtype=torch.float32),
        rejected=dict(+rejected),
        levels=torch.tensor([found.levels[mask] for mask in order]),
        parents=torch.from_numpy(places[np.array(parents)[order]]),
    )


Table = list[tuple[np.ndarray, np.ndarray]]
"""For regions, then for groups: the number of each patch, ``(n,)``, and the mask of each number, ``NONE`` for none."""


def _table(found: _Masks, layer: Layer, level: int, kinds: str, limits: tuple[int, int]) -> Table:
    """Add the masks of a layer; return where they are."""
    table = []
    if kinds != "semantic":
        table.append((layer.labels, _added(found, layer.labels, layer.scores, level, limits)))
    taking = np.zeros(0, bool) if layer.groups is None else layer.groups >= 0
    if kinds != "instance" and layer.groups is not None and taking.any():
        weights = np.where(taking, layer.areas, 0)
        count = int(layer.groups.max()) + 1
        total = np.bincount(layer.groups[taking], (weights * layer.scores)[taking], minlength=count)
        scores = total / np.bincount(layer.groups[taking], weights[taking], minlength=count)
        labels = layer.groups[layer.labels]
        table.append((labels, _added(found, labels, scores, level, limits)))
    return table


def _added(found: _Masks, labels: np.ndarray, scores: np.ndarray, level: int, limits: tuple[int, int]) -> np.ndarray:
    """Add the mask of each number whose area is within limits; return the mask of each, and last that of -1."""
    masks = np.full(len(scores) + 1, NONE)
    areas = np.bincount(labels[labels >= 0], minlength=len(scores))
    order = np.argsort(labels, kind="stable")[np.count_nonzero(labels < 0) :]
    ends = np.cumsum(areas)
    for number in np.flatnonzero((areas >= limits[0]) & (areas <= limits[1])).tolist():
        patches = order[ends[number] - areas[number] : ends[number]]
        masks[number] = found.place(patches, float(scores[number]), level)
    return masks


def _parent(found: _Masks, mask: int, tables: Sequence[Table]) -> int:
    """Return the mask that contains all patches of another one and more, of its layer or a later one.

    The smallest region that does, or where there is none the smallest group.
    """
    patches = found.patches[mask]
    later = tables[found.levels[mask] :]
    for kind in range(2):
        best, least = NONE, np.inf
        for labels, masks in (table[kind] for table in later if kind < len(table)):
            number = labels[patches[0]]
            other = masks[number]
            if other == NONE or not len(patches) < len(found.patches[other]) < least:
                continue
            if (labels[patches] == number).all():
                best, least = int(other), len(found.patches[other])
        if best != NONE:
            return best
    return NONE
