"""The graph that the first layer begins with, a region for each patch: which neighbours reach a threshold.

Most are decided by two bounds that need no affinity. With ``d = F_i - F_j``, the spatial distance of two patches is the
mean of ``|y_n|``, ``y_n = d F_n``, over all patches n. As ``|y_n| <= |d|`` it is

    at most   sqrt(mean y^2)                             (Jensen)
    at least  |mean y|  and  mean y^2 / |d|              (mean y^2 <= max |y| mean |y|),

and ``mean y^2 = d G d^T`` with the second moments ``G = F^T F / n`` of the image. Of the others, those are compared
whose patches are not connected yet by pairs that are decided.

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    e      pairs of neighbouring patches of an image
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.graph.regions import connected_groups, grid_edges
from unseg_d2.masks.uniap.settings import UniAPSettings
from unseg_d2.masks.uniap.similarity import (
    CELLS,
    DECIDED_IN_FLOAT64,
    mean_distances,
    numbers_at_once,
    reaches,
    similarities,
    weighted,
)
from unseg_d2.masks.uniap.tokens import Tokens
from unseg_d2.transfer import to_host

SLACK = 1e-5  # on the safe side of the bounds: ten times the float32 error of their sums


@dataclass(frozen=True)
class Patches:
    """Pairs of neighbouring patches of a batch, and what is known of their similarity.

    Attributes:
        edges: ``(2, b e)`` int64, patches counted through the images; for each image in the order of
            :func:`~unseg_d2.graph.regions.grid_edges`.
        least: ``(b, e)`` float32, bound of the similarity.
        most: ``(b, e)`` float32, likewise; both are the similarity itself where thresholds are its quantiles, or where
            the affinity costs less than the bounds.
    """

    edges: np.ndarray
    least: np.ndarray
    most: np.ndarray

    @classmethod
    def of(cls, tokens: Tokens, settings: UniAPSettings) -> Patches:
        """Compare neighbours: on a card the one wait for them."""
        n, channels = tokens.single.shape[1:]
        firsts = n * np.arange(tokens.count)
        edges = (grid_edges(*tokens.grid)[:, None] + firsts[:, None]).reshape(2, -1)
        if settings.measure == "quantile" or n < 2 * channels:
            (least,) = to_host(grid_similarities(tokens, settings))
            return cls(edges, least.numpy(), least.numpy())
        least, most = to_host(*grid_bounds(tokens, settings))
        return cls(edges, least.numpy(), most.numpy())

    def reaching(self, taus: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> np.ndarray:
        """Return edges, ``(b e,)`` bool, that connect the same patches as all edges that reach the threshold.

        Args:
            taus: ``(b,)`` threshold of each image.
            tokens: of the images.
            settings: of the method.
        """
        wanted = taus[:, None]
        along = (self.least >= wanted + DECIDED_IN_FLOAT64).ravel()
        open_ = ~along & (self.most >= wanted - DECIDED_IN_FLOAT64).ravel()
        _, groups = connected_groups(tokens.count * tokens.per_image, self.edges[:, along])
        left = np.flatnonzero(open_ & (groups[self.edges[0]] != groups[self.edges[1]]))
        if len(left):
            along[left] = _reaching(self.edges[:, left], taus, tokens, settings)
        return along


def _reaching(pairs: np.ndarray, taus: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> np.ndarray:
    """Return which pairs ``(2, p)`` of patches reach the threshold of their image, ``(p,)`` bool."""
    images = np.arange(tokens.count * tokens.per_image) // tokens.per_image

    def compared(some: np.ndarray, unit: Tensor) -> np.ndarray:
        rows = unit.flatten(0, 1)
        (found,) = to_host(similarities(rows, rows, some, images, tokens, settings))
        return found.numpy()

    similarity = compared(pairs, tokens.single)
    return reaches(similarity, taus[images[pairs[0]]], lambda near: compared(pairs[:, near], tokens.double))


def grid_bounds(tokens: Tokens, settings: UniAPSettings) -> tuple[Tensor, Tensor]:
    """Return what the similarity of neighbouring patches is at least, and at most, ``(b, e)`` float32 each."""
    unit = tokens.single
    moments = (unit.mT @ unit) / tokens.per_image
    turned = unit @ moments
    squares = (turned * unit).sum(2)
    levels = unit @ unit.mean(1)[:, :, None]
    alike, product = _dots(unit, unit, tokens.grid), _dots(turned, unit, tokens.grid)
    mean_square = _along_edges(operator.add, squares[..., None], squares[..., None], tokens.grid) - 2 * product
    shift = _along_edges(operator.sub, levels, levels, tokens.grid).abs()
    length = (2 - 2 * alike).clamp_min(0).add(SLACK).sqrt()  # of d; for a patch of zeros, more than that
    near = torch.maximum(shift, mean_square / length) - 2 * SLACK / length
    far = (mean_square.clamp_min(0) + SLACK).sqrt()
    return weighted(alike, far, settings), weighted(alike, near.clamp_min(0), settings)


def grid_similarities(tokens: Tokens, settings: UniAPSettings) -> Tensor:
    """Return the similarity of neighbouring patches, ``(b, e)`` float32, from some rows of the affinity at a time."""
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
    return weighted(_dots(unit, unit, tokens.grid), torch.cat([*right, *below], 1), settings)


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
