"""The divide stage: patches are merged within each mask of another generator (UnSAM, NeurIPS 2024, section 3.1).

UnSAM's objects are those of a trained detector; each is cropped and encoded anew at a higher resolution, and regions
are refined by a network that learnt from human masks. Here objects are the masks of a generator, features are those of
the image, and refinement is that of the label set.

Shape legend
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    m      masks
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from unseg_d2.graph.regions import grid_edges
from unseg_d2.masks.greedymerge.merging import greedy_layers
from unseg_d2.masks.hierarchy import NONE, Layer
from unseg_d2.structures import Proposals


def layers_within(
    unit: np.ndarray, grid: tuple[int, int], objects: Proposals, taus: Sequence[float]
) -> Iterator[list[Layer]]:
    """Yield for each mask of an image the regions that are left in it at each threshold, and then the mask itself.

    Args:
        unit: ``(n, C)`` float64 features of length 1, or 0.
        grid: ``(h, w)``.
        objects: masks on this grid or on another one, whose patches then are those at their centres.
        taus: falling.
    """
    masks = objects.masks
    if len(masks) and masks.shape[1:] != grid:
        masks = F.interpolate(masks[:, None].float(), size=grid, mode="nearest-exact")[:, 0] > 0
    edges = grid_edges(*grid)
    for mask, score in zip(masks.flatten(1).numpy(), objects.scores.tolist()):
        if mask.any():
            yield [*_within(unit, edges, mask, score, taus), _whole(mask, score)]


def _within(
    unit: np.ndarray, edges: np.ndarray, mask: np.ndarray, score: float, taus: Sequence[float]
) -> Iterator[Layer]:
    """Yield the layers of a mask; patches outside have the label -1. A region that is the whole mask has its score."""
    patches = np.flatnonzero(mask)
    places = np.cumsum(mask) - 1
    inside = places[edges[:, mask[edges].all(0)]]
    for layer in greedy_layers(unit[patches], inside, taus):
        labels = np.full(len(mask), NONE)
        labels[patches] = layer.labels
        scores = layer.scores if len(layer.areas) > 1 else np.array([score])
        yield Layer(labels, layer.areas, scores)


def _whole(mask: np.ndarray, score: float) -> Layer:
    return Layer(np.where(mask, 0, NONE), np.array([mask.sum()]), np.array([score]))


def united(found: Sequence[Proposals], grid: tuple[int, int], rejected: Mapping[str, int]) -> Proposals:
    """Return the masks of all objects of an image, each once, the best first.

    A mask that two objects have is that of the first. Its parent is the smaller of those that it has in either; one
    that has none gets the smallest mask of another object that contains it and more.

    Args:
        found: of each object.
        grid: ``(h, w)``.
        rejected: what the generator of the objects turned down.
    """
    counts = dict(+sum((Counter(one.rejected) for one in found), Counter(rejected)))
    kept = [one for one in found if len(one)]
    if not kept:
        return Proposals.empty(grid, counts)
    masks, scores, levels = (torch.cat([getattr(one, name) for one in kept]) for name in ("masks", "scores", "levels"))
    flat = masks.flatten(1).numpy()
    places: dict[bytes, int] = {}
    first = np.array([places.setdefault(mask.tobytes(), number) for number, mask in enumerate(flat)])
    unique = np.flatnonzero(first == np.arange(len(flat)))
    parents = _parents(kept, first, flat.sum(1))
    for number in unique[parents[unique] == NONE].tolist():
        parents[number] = _smallest_around(flat, number)
    order = unique[np.argsort(-scores.numpy()[unique], kind="stable")]
    positions = np.full(len(flat) + 1, NONE)
    positions[order] = np.arange(len(order))
    return Proposals(
        masks[order],
        scores[order],
        rejected=counts,
        levels=levels[order],
        parents=torch.from_numpy(positions[parents[order]]),
    )


def _parents(found: Sequence[Proposals], first: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Return the smallest parent that each mask has in an object, at its first place; -1 for none and elsewhere."""
    parents, start = np.full(len(first), NONE), 0
    for one in found:
        for number, parent in enumerate(one.parents.tolist() if one.parents is not None else []):
            place = first[start + number]
            if parent != NONE and (parents[place] == NONE or areas[start + parent] < areas[parents[place]]):
                parents[place] = first[start + parent]
        start += len(one)
    return parents


def _smallest_around(flat: np.ndarray, number: int) -> int:
    """Return the smallest mask that contains a mask and more, -1 for none; of several that are equal, the first."""
    areas = flat.sum(1)
    around = (flat | ~flat[number]).all(1) & (areas > areas[number])
    return int(np.flatnonzero(around)[np.argmin(areas[around])]) if around.any() else NONE
