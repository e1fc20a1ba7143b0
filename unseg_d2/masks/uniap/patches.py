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

import operator
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.graph.regions import grid_edges
from unseg_d2.masks.uniap.bounds import distance_bounds
from unseg_d2.masks.uniap.regions import Partition, Regions
from unseg_d2.masks.uniap.settings import UniAPSettings
from unseg_d2.masks.uniap.similarity import CELLS, mean_distances, numbers_at_once
from unseg_d2.masks.uniap.tokens import Tokens


def patch_regions(tokens: Tokens, settings: UniAPSettings) -> Regions:
    """Return the graph of single patches, whose features are those of the image: on a card the one wait for it.

    The edges of an image are in the order of :func:`~unseg_d2.graph.regions.grid_edges`. Both bounds are the similarity
    itself where thresholds are its quantiles, or where the affinity costs less than the bounds.
    """
    n, unit = tokens.per_image, tokens.single
    firsts = n * np.arange(tokens.count)
    edges = (grid_edges(*tokens.grid)[:, None] + firsts[:, None]).reshape(2, -1)
    alike = _dots(unit, unit, tokens.grid)
    if settings.measure == "quantile" or tokens.few:
        gaps = grid_distances(tokens).expand(2, -1, -1)
    else:
        gaps = grid_bounds(tokens, alike)
    partition = Partition.of_patches(tokens)
    return Regions.compared(partition, partition.means, edges, alike.flatten(), gaps.flatten(1), settings)


def grid_bounds(tokens: Tokens, alike: Tensor) -> Tensor:
    """Return what the distance of neighbouring patches is at least, and at most, ``(2, b, e)`` float32.

    Args:
        tokens: of the images.
        alike: ``(b, e)`` cosines of neighbours.
    """
    unit, grid = tokens.single, tokens.grid
    turned = unit @ tokens.moments
    squares, levels = (turned * unit).sum(2, keepdim=True), unit @ tokens.mean
    mean_square = _along_edges(operator.add, squares, squares, grid) - 2 * _dots(turned, unit, grid)
    # |d|^2 of unit features; for a patch of zeros, more than that.
    return distance_bounds(2 - 2 * alike, mean_square, _along_edges(operator.sub, levels, levels, grid))


def grid_distances(tokens: Tokens) -> Tensor:
    """Return the mean absolute difference of the affinities of neighbouring patches, ``(b, e)`` float32."""
    (h, w), unit, n = tokens.grid, tokens.single, tokens.per_image
    rows = max(1, numbers_at_once(tokens.device, CELLS) // (tokens.count * w * n))
    right, below = [], []
    for top in range(0, h, rows):
        bottom = min(top + rows, h)
        block = unit[:, top * w : min(bottom + 1, h) * w] @ unit.mT  # with the row below
        own = (bottom - top) * w
        pairs = mean_distances(block[:, : own - 1], block[:, 1:own])  # those between two rows of the grid are not edges
        right.append(F.pad(pairs, (0, 1)).view(tokens.count, -1, w)[:, :, :-1].flatten(1))
        below.append(mean_distances(block[:, :-w], block[:, w:]))
    return torch.cat([*right, *below], 1)


def _dots(first: Tensor, second: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the inner product of neighbouring rows of two ``(b, n, C)`` tensors, ``(b, e)``."""
    return _along_edges(lambda one, other: (one * other).sum(-1, keepdim=True), first, second, grid)


def _along_edges(
    function: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor, grid: tuple[int, int]
) -> Tensor:
    """Return a function, with one result, of the ``(b, n, q)`` values of both ends of each edge, ``(b, e)``."""
    one, other = (values.unflatten(1, grid) for values in (first, second))
    right = function(one[:, :, :-1], other[:, :, 1:])
    below = function(one[:, :-1], other[:, 1:])
    return torch.cat([right.flatten(1), below.flatten(1)], 1)
