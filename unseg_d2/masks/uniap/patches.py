"""The graph that the first layer begins with, a region for each patch.

Neighbours are compared by the bounds of ``bounds.py``, which need no affinity; where thresholds are quantiles of
their similarities, by some rows of the affinity at a time.

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    e      pairs of neighbouring patches of an image
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unseg_d2.graph.regions import grid_edges
from unseg_d2.masks.uniap.bounds import gaps
from unseg_d2.masks.uniap.regions import Partition, Regions
from unseg_d2.masks.uniap.settings import UniAPSettings
from unseg_d2.masks.uniap.similarity import CELLS, numbers_at_once, pair_distances, products
from unseg_d2.masks.uniap.tokens import Tokens


def patch_regions(tokens: Tokens, settings: UniAPSettings) -> Regions:
    """Return the graph of single patches, whose features are those of the image: on a card the one wait for it.

    The edges of an image are in the order of :func:`~unseg_d2.graph.regions.grid_edges`. Both bounds are the similarity
    itself where thresholds are its quantiles, or where the affinity costs less than the bounds.
    """
    partition, edges = (
        Partition.of_patches(tokens),
        _counted_through(grid_edges(*tokens.grid), tokens, tokens.per_image),
    )
    rows = partition.means
    if settings.measure == "quantile" or tokens.few:
        known = grid_distances(tokens).expand(2, -1)
    else:
        known = gaps(rows, edges, np.zeros(edges.shape[1], dtype=bool), partition.images, tokens)
    return Regions.compared(partition, rows, edges, products(rows, rows, *tokens.index(edges)), known, settings)


def grid_distances(tokens: Tokens) -> Tensor:
    """Return the mean absolute difference of the affinities of neighbouring patches, ``(b e,)`` float32."""
    (h, w), unit, n = tokens.grid, tokens.single, tokens.per_image
    rows = max(1, numbers_at_once(tokens.device, CELLS) // (tokens.count * w * n))
    right, below = [], []
    for top in range(0, h, rows):
        block = unit[:, top * w : (top + rows + 1) * w] @ unit.mT  # with the row below
        height = block.shape[1] // w
        edges, across = grid_edges(height, w), min(rows, height) * (w - 1)
        edges = np.concatenate([edges[:, :across], edges[:, height * (w - 1) :]], axis=1)
        pairs = tokens.index(_counted_through(edges, tokens, block.shape[1]))
        found = pair_distances(block.flatten(0, 1), *pairs).view(tokens.count, -1)
        right.append(found[:, :across])
        below.append(found[:, across:])
    return torch.cat([*right, *below], 1).flatten()


def _counted_through(edges: np.ndarray, tokens: Tokens, patches: int) -> np.ndarray:
    """Return edges ``(2, e)`` of as many patches of an image for all images, ``(2, b e)``."""
    firsts = patches * np.arange(tokens.count)
    return (edges[:, None] + firsts[:, None]).reshape(2, -1)
