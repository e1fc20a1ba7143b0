"""Greedy merging: the most similar neighbours first, one pair at a time (UnSAM, NeurIPS 2024, the conquer stage).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    e      pairs of neighbours
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.graph.regions import contract, grid_edges
from unseg_d2.masks.batches import check_tokens, map_batches
from unseg_d2.masks.hierarchy import Layer, contrast, masks_of_layers
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_host


@dataclass(frozen=True)
class GreedyMergeSettings(Settings):
    """Settings of :func:`greedymerge`; both values of ``MASKS.MODE`` mean the same here."""

    taus: Sequence[float] = setting(
        (0.9, 0.8, 0.7, 0.6, 0.5),
        "cosine at which merging stops in each layer, falling; the finest layer first (those of UnSAMv2)",
        symbol="theta",
        low=-1,
        high=1,
    )
    min_patches: int = setting(4, "smallest region that is a mask, patches", low=1)
    max_share: float = setting(0.9, "largest share of the grid that a mask covers", above=0, below=1)

    def check(self) -> None:
        """Raise ValueError without thresholds, or where they do not fall."""
        if not self.taus or any(a < b for a, b in zip(self.taus, self.taus[1:])):
            raise ValueError(f"taus must name thresholds that fall from layer to layer, got {tuple(self.taus)}")

    def when_empty(self) -> str:
        """Return what to change where no region is a mask: all are small, or one covers the image."""
        return (
            f"lower MASKS.GREEDYMERGE.TAUS (now {', '.join(map(str, self.taus))}) where patches stay alone, or raise "
            "them where one region covers the image."
        )


@MASK_GENERATORS.register(settings=GreedyMergeSettings)
class GreedyMerge:
    """Mask generator that calls :func:`greedymerge` with fixed settings.

    Args:
        settings: see :class:`GreedyMergeSettings`; ``None`` takes the defaults.

    Attributes:
        has_levels: masks contain one another on purpose.
    """

    has_levels = True

    def __init__(self, settings: GreedyMergeSettings | None = None) -> None:
        self.settings = settings or GreedyMergeSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image."""
        return map_batches(lambda tokens: greedymerge(tokens, self.settings), features)


def greedymerge(tokens: Tensor, settings: GreedyMergeSettings | None = None) -> list[Proposals]:
    """Find regions of every level of detail by merging the two most similar neighbours again and again.

    The feature of a region is the mean of its patches' unit features, and similarity the cosine. UnSAM begins with
    the objects of a detector and merges within each; here merging begins with the patches of the whole image. It runs
    on the CPU, one image at a time.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        settings: see :class:`GreedyMergeSettings`; ``None`` takes the defaults.

    Returns:
        Proposals per image, on the CPU, each mask once, in the finest layer that has it, with ``levels`` (0 is the
        finest) and ``parents``; scores are contrasts as those of UniAP, and the best comes first.

    Raises:
        ValueError: if the features are not finite.
    """
    settings = settings or GreedyMergeSettings()
    check_tokens(tokens)
    h, w = tokens.shape[2:]
    (host,) = to_host(tokens)
    results = []
    for image in host:
        unit = F.normalize(image.flatten(1).T.double(), dim=1).numpy()
        layers = greedy_layers(unit, grid_edges(h, w), settings.taus)
        found = masks_of_layers(
            layers, (h, w), kinds="instance", min_patches=settings.min_patches, max_share=settings.max_share
        )
        results.append(found)
    return results


def greedy_layers(unit: np.ndarray, edges: np.ndarray, taus: Sequence[float]) -> list[Layer]:
    """Return the regions that are left at each threshold.

    Args:
        unit: ``(n, C)`` float64 features of length 1, or 0.
        edges: ``(2, e)`` neighbours.
        taus: falling.
    """
    merging = _Merging(unit, edges)
    layers = []
    for tau in taus:
        merging.until(tau)
        layers.append(merging.layer(edges))
    return layers


class _Merging:
    """The regions so far, each under the number of its first patch, and a heap of their pairs, the most similar first.

    A pair whose regions have changed since it was pushed is passed over.
    """

    def __init__(self, unit: np.ndarray, edges: np.ndarray) -> None:
        self.sums, self.lengths = unit.copy(), np.linalg.norm(unit, axis=1)
        self.owner = np.arange(len(unit))
        self.members = [[patch] for patch in range(len(unit))]
        self.neighbours: list[set[int]] = [set() for _ in unit]
        for i, j in edges.T.tolist():
            self.neighbours[i].add(j)
            self.neighbours[j].add(i)
        self.version = [0] * len(unit)
        cosines = (unit[edges[0]] * unit[edges[1]]).sum(1)
        self.heap = [(-cosine, i, j, 0, 0) for cosine, i, j in zip(cosines.tolist(), *edges.tolist())]
        heapq.heapify(self.heap)

    def until(self, tau: float) -> None:
        """Merge while a pair has a cosine of at least tau."""
        while self.heap and -self.heap[0][0] >= tau:
            _, i, j, of_i, of_j = heapq.heappop(self.heap)
            if (self.version[i], self.version[j]) == (of_i, of_j):
                self._merge(i, j)

    def layer(self, edges: np.ndarray) -> Layer:
        """Return the regions as they are."""
        roots, labels, areas = np.unique(self.owner, return_inverse=True, return_counts=True)
        between, _ = contract(edges, labels, len(roots))
        first, second = roots[between]
        return Layer(labels, areas, contrast(between, len(roots), self._cosines(first, second)))

    def _merge(self, i: int, j: int) -> None:
        """Add region j, which has the larger number, to region i."""
        self.owner[self.members[j]] = i
        self.members[i] += self.members[j]
        self.sums[i] += self.sums[j]
        self.lengths[i] = np.linalg.norm(self.sums[i])
        self.version[i] += 1
        self.version[j] = -1
        around = (self.neighbours[i] | self.neighbours[j]) - {i, j}
        for other in self.neighbours[j]:
            self.neighbours[other].discard(j)
        for other in around:
            self.neighbours[other].add(i)
        self.neighbours[i], self.neighbours[j] = around, set()
        others = sorted(around)
        for other, cosine in zip(others, self._cosines(np.full(len(others), i), np.array(others, dtype=int)).tolist()):
            low, high = min(i, other), max(i, other)
            heapq.heappush(self.heap, (-cosine, low, high, self.version[low], self.version[high]))

    def _cosines(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        lengths = self.lengths[first] * self.lengths[second]
        products = (self.sums[first] * self.sums[second]).sum(1)
        return np.divide(products, lengths, out=np.zeros(len(products)), where=lengths > 0)
