"""What a similarity is at least and at most before profiles are compared, and which pairs these bounds decide.

Profiles of two regions with the mean features ``m_i`` and ``m_j`` differ by the mean of ``|y_n|``, ``y_n = d F_n`` with
``d = m_i - m_j``, over all patches n. As ``|y_n| <= |d|`` that is

    at most   sqrt(mean y^2)                             (Jensen)
    at least  |mean y|  and  mean y^2 / |d|              (mean y^2 <= max |y| mean |y|),

and ``mean y^2 = d G d^T`` with the second moments ``G = F^T F / n`` of the image: no profile is needed.

Shape legend
    n      patches (tokens) of an image
    k      regions of all images
    p      pairs of regions of one image
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from unseg_d2.graph.regions import connected_groups
from unseg_d2.masks.uniap.similarity import DECIDED_IN_FLOAT64, distances, products
from unseg_d2.masks.uniap.tokens import Rows, Tokens

SLACK = 1e-5  # on the safe side of the bounds: ten times the float32 error of their sums


def distance_bounds(length: Tensor, mean_square: Tensor, shift: Tensor) -> Tensor:
    """Return what the distance of two profiles is at least, and at most, ``(2, ...)``, from numbers of one shape.

    Args:
        length: ``|d|^2``, or more.
        mean_square: the mean of ``y^2``.
        shift: the mean of ``y``, of either sign.
    """
    length = length.clamp_min(0).add(SLACK).sqrt()
    near = torch.maximum(shift.abs(), mean_square / length) - 2 * SLACK / length
    return torch.stack([near.clamp_min(0), (mean_square.clamp_min(0) + SLACK).sqrt()])


def gaps(
    means: Tensor,
    pairs: np.ndarray,
    measured: np.ndarray,
    images: np.ndarray,
    tokens: Tokens,
    profiles: Tensor | None = None,
) -> Tensor:
    """Return what the distance of the profiles of pairs is at least, and at most, ``(2, p)`` float32.

    Args:
        means: ``(k, C)`` float32 plain means of unit features.
        pairs: ``(2, p)`` regions of one image each, those of an image together.
        measured: ``(p,)`` bool, pairs whose distance is computed: it is both bounds.
        images: ``(k,)`` image of each region, ascending.
        tokens: of the images.
        profiles: ``(k, n)`` where they are kept.
    """
    if measured.all():
        return distances(means, pairs, images, tokens, profiles).expand(2, -1)
    found = _bounds(means, pairs, images, tokens)
    if measured.any():
        chosen = np.flatnonzero(measured)
        found[:, tokens.index(chosen)] = distances(means, pairs[:, chosen], images, tokens, profiles)
    return found


def _bounds(means: Tensor, pairs: np.ndarray, images: np.ndarray, tokens: Tokens) -> Tensor:
    """Return the bounds of the distances of pairs ``(2, p)`` of regions, ``(2, p)``."""
    nodes, ends = np.unique(pairs, return_inverse=True)
    rows, of_images = means.index_select(0, tokens.index(nodes)), Rows(images[nodes], tokens)
    first, second = tokens.index(ends.reshape(2, -1))
    turned, levels = of_images.times(rows, tokens.moments), of_images.times(rows, tokens.mean)[:, 0]
    squares, lengths = (turned * rows).sum(1), rows.square().sum(1)
    mean_square = squares[first] + squares[second] - 2 * products(turned, rows, first, second)
    length = lengths[first] + lengths[second] - 2 * products(rows, rows, first, second)
    return distance_bounds(length, mean_square, levels[first] - levels[second])


def joining(
    pairs: np.ndarray,
    count: int,
    least: np.ndarray,
    most: np.ndarray,
    taus: np.ndarray,
    reach: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return pairs, ``(p,)`` bool, that connect the same nodes as all pairs that reach their thresholds.

    Of the pairs that the bounds leave open, those are compared whose nodes are not connected yet.

    Args:
        pairs: ``(2, p)`` of nodes.
        count: number of nodes.
        least: ``(p,)`` what the similarity is at least.
        most: ``(p,)`` likewise.
        taus: ``(p,)`` thresholds.
        reach: compares some pairs, ``(q,)`` positions -> ``(q,)`` bool.
    """
    along = least >= taus + DECIDED_IN_FLOAT64
    open_ = ~along & (most >= taus - DECIDED_IN_FLOAT64)
    _, groups = connected_groups(count, pairs[:, along])
    left = np.flatnonzero(open_ & (groups[pairs[0]] != groups[pairs[1]]))
    if len(left):
        along[left] = reach(left)
    return along
