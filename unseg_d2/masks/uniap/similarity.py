"""How alike two regions are: by their features, and by how much each patch of the image is like them (S2-UniSeg).

Row i of ``M A / |M|``, the mean affinity of a region to every patch, is ``m_i F^T`` with the plain mean ``m_i`` of its
unit features: its *profile*. No mask of ``n`` numbers is ever needed.

Shape legend
    n      patches (tokens) of an image
    k      regions
    e      pairs of regions
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.transfer import to_card

CELLS = 2**22  # numbers of profiles that exist at a time where they are not kept: 16 MB
IN_CACHE = 2**18  # numbers of profiles that are compared at a time: they stay in a CPU's cache
ON_A_CARD = 2**26  # a card has no such cache, and each piece costs launches: 256 MB
DECIDED_IN_FLOAT64 = 1e-5  # distance from a threshold within which a float32 similarity, of error 1e-6, is recomputed


def grid_distances(tokens: Tensor, h: int, w: int, profiles: Tensor | None = None) -> Tensor:
    """Return the mean absolute difference of the profiles of neighbouring patches, ``(e,)``, each a region of its own.

    Args:
        tokens: ``(n, C)`` unit features of a grid, row-major.
        h: rows of the grid.
        w: columns.
        profiles: ``(n, n)`` affinity of the tokens, where it is kept; else some rows exist at a time.

    Returns:
        In the order of :func:`~unseg_d2.graph.regions.grid_edges`.
    """
    rows = h if profiles is not None else max(1, CELLS // (w * len(tokens)))
    right, below = [], []
    for top in range(0, h, rows):
        bottom = min(top + rows, h)
        nodes = slice(top * w, min(bottom + 1, h) * w)  # with the row below
        block = tokens[nodes] @ tokens.T if profiles is None else profiles[nodes]
        own = (bottom - top) * w
        pairs = _mean_distances(block[: own - 1], block[1:own])  # those between two rows of the grid are not edges
        right.append(F.pad(pairs, (0, 1)).view(-1, w)[:, :-1])
        below.append(_mean_distances(block[:-w], block[w:]))
    return torch.cat([torch.cat(right).flatten(), *below])


def pair_distances(profiles: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the mean absolute difference of pairs of profiles, ``(e,)``.

    Args:
        profiles: ``(k, n)``.
        first: ``(e,)`` rows.
        second: ``(e,)`` rows.
    """
    step = _rows_at_once(profiles.T)
    parts = [
        _mean_distances(profiles[one], profiles[other]) for one, other in zip(first.split(step), second.split(step))
    ]
    return torch.cat(parts) if parts else profiles.new_zeros(0)


def distances(means: Tensor, tokens: Tensor, edges: np.ndarray, profiles: Tensor | None = None) -> Tensor:
    """Return the mean absolute difference of the profiles of pairs of regions, ``(e,)``.

    Args:
        means: ``(k, C)`` plain means of unit features.
        tokens: ``(n, C)`` unit features.
        edges: ``(2, e)`` pairs of regions.
        profiles: ``(k, n)`` where they are kept; else those of some edges exist at a time.
    """
    device = tokens.device
    if profiles is not None:
        first, second = to_card(torch.from_numpy(edges), device)
        return pair_distances(profiles, first, second)
    parts = []
    step = max(1, CELLS // (2 * len(tokens)))
    for start in range(0, edges.shape[1], step):
        nodes, ends = np.unique(edges[:, start : start + step], return_inverse=True)
        first, second = to_card(torch.from_numpy(ends.reshape(2, -1)), device)
        rows = means[to_card(torch.from_numpy(nodes), device)] @ tokens.T
        parts.append(pair_distances(rows, first, second))
    return torch.cat(parts) if parts else means.new_zeros(0)


def region_features(
    means: Tensor, tokens: Tensor, scale: Tensor, profiles: Tensor | None = None, members: Tensor | None = None
) -> Tensor:
    """Return the feature of each region, ``L2N(softmax(scale m F^T) F)``, ``(k, C)`` (equation 5).

    It is not the sum of the children's features: patches at a boundary, which two regions share, would make all of
    them alike.

    Args:
        means: ``(k, C)`` plain means of unit features.
        tokens: ``(n, C)`` unit features.
        scale: ``(k, 1)``: 1 / sigma, or for sums of affinities the area / sigma.
        profiles: ``(k, n)`` of the regions, where they are kept.
        members: ``(k, n)`` bool, patches that the softmax runs over; ``None`` is all of them.
    """
    parts = []
    step = _rows_at_once(tokens)
    for start in range(0, len(means), step):
        some = slice(start, start + step)
        logits = (means[some] @ tokens.T if profiles is None else profiles[some]) * scale[some]
        if members is not None:
            logits.masked_fill_(~members[some], -torch.inf)
        # The sum of the weights, which softmax divides by, cancels in the length.
        weights = logits.sub_(logits.amax(1, keepdim=True)).exp_()
        parts.append(F.normalize(weights @ tokens, dim=1))
    return torch.cat(parts) if parts else means


def reaches(similarity: np.ndarray, tau: float, exact: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return which similarities are at least tau, ``(e,)`` bool, whatever their float32 rounding.

    Args:
        similarity: ``(e,)``.
        tau: threshold.
        exact: gives the float64 similarities of some positions.
    """
    reached = similarity >= tau
    near = np.flatnonzero(np.abs(similarity - tau) < DECIDED_IN_FLOAT64)
    if len(near):
        reached[near] = exact(near) >= tau
    return reached


def _rows_at_once(tokens: Tensor) -> int:
    """Return how many profiles of ``(n, ...)`` tokens are worked on at a time."""
    return max(1, (IN_CACHE if tokens.device.type == "cpu" else ON_A_CARD) // len(tokens))


def _mean_distances(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of the rows of two ``(e, n)`` matrices, without a third one on a CPU."""
    if first.device.type != "cpu":
        return (first - second).abs().mean(1)
    return torch.cdist(first[:, None], second[:, None], p=1)[:, 0, 0] / first.shape[1]
