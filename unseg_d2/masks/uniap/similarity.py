"""How alike two regions are: by their features, and by how much each patch of the image is like them (S2-UniSeg).

Row i of ``M A / |M|``, the mean affinity of a region to every patch, is ``m_i F^T`` with the plain mean ``m_i`` of its
unit features: its *profile*. Neither a mask of ``n`` numbers nor the whole affinity is ever needed.

Shape legend
    b      images
    n      patches (tokens) of an image
    k      regions of all images
    e      pairs of regions of one image, or of neighbouring patches of an image
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.compiled import runs_compiled
from unseg_d2.masks.uniap.settings import UniAPSettings
from unseg_d2.masks.uniap.tokens import Rows, Tokens

CELLS = 2**22  # numbers of profiles that exist at a time where they are not kept: 16 MB
IN_CACHE = 2**18  # numbers of profiles that are compared at a time: they stay in a CPU's cache
AT_ONCE = 2**20  # numbers of profiles whose softmax is multiplied at a time: enough rows for a fast product
ON_A_CARD = 2**26  # a card has no such cache, and each piece costs launches: 256 MB
DECIDED_IN_FLOAT64 = 1e-5  # distance from a threshold within which a float32 similarity, of error 1e-6, is recomputed


def weighted(alike: Tensor, apart: Tensor, settings: UniAPSettings) -> Tensor:
    """Return ``omega_f S_f + omega_s S_s`` of the similarity of features and the distance of profiles."""
    return settings.feature_weight * alike + settings.spatial_weight * (1 - apart)


def similarities(
    features: Tensor,
    means: Tensor,
    pairs: np.ndarray,
    images: np.ndarray,
    tokens: Tokens,
    settings: UniAPSettings,
    profiles: Tensor | None = None,
) -> Tensor:
    """Return how alike pairs of regions are, ``(e,)``, in the precision of the features.

    Args:
        features: ``(k, C)`` of the regions.
        means: ``(k, C)`` plain means of unit features.
        pairs: ``(2, e)`` regions of one image each, those of an image together.
        images: ``(k,)`` image of each region, ascending.
        tokens: of the images.
        settings: of the method.
        profiles: ``(k, n)`` where they are kept.
    """
    alike = products(features, features, *tokens.index(pairs))
    return weighted(alike, distances(means, pairs, images, tokens, profiles), settings)


def distances(
    means: Tensor, pairs: np.ndarray, images: np.ndarray, tokens: Tokens, profiles: Tensor | None = None
) -> Tensor:
    """Return the mean absolute difference of the profiles of pairs of regions, ``(e,)``; see :func:`similarities`."""
    if profiles is not None:
        return pair_distances(profiles, *tokens.index(pairs))
    matrices = (tokens.double if means.dtype == torch.float64 else tokens.single).mT
    parts = []
    step = max(1, numbers_at_once(tokens.device, CELLS) // (2 * tokens.per_image))
    for start in range(0, pairs.shape[1], step):
        nodes, ends = np.unique(pairs[:, start : start + step], return_inverse=True)
        rows = Rows(images[nodes], tokens).times(means.index_select(0, tokens.index(nodes)), matrices)
        parts.append(pair_distances(rows, *tokens.index(ends.reshape(2, -1))))
    return torch.cat(parts) if parts else means.new_zeros(0)


def products(one: Tensor, other: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the inner product of row ``first`` of one and row ``second`` of the other ``(k, C)`` matrix, ``(e,)``."""
    return _of_pairs("products", lambda left, right: left.mul_(right).sum(1), one, other, first, second)


def pair_distances(profiles: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the mean absolute difference of pairs of ``(k, n)`` profiles, ``(e,)``, from ``(e,)`` rows each."""
    return _of_pairs(
        "distances", lambda left, right: left.sub_(right).abs_().mean(1), profiles, profiles, first, second
    )


def _of_pairs(
    loop: str,
    function: Callable[[Tensor, Tensor], Tensor],
    one: Tensor,
    other: Tensor,
    first: Tensor,
    second: Tensor,
) -> Tensor:
    """Return a function of pairs of rows, ``(e,)``, by the compiled loop of that name where it can run.

    Elsewhere the function gets copies of as many rows as fit into a cache, and may change them.
    """
    if one.dtype == torch.float32 and runs_compiled(one):
        from unseg_d2.masks.uniap import pair_loops

        found = one.new_empty(len(first))
        getattr(pair_loops, loop)(*(part.numpy() for part in (one, other, first, second, found)))
        return found
    step = max(1, numbers_at_once(one.device, IN_CACHE) // one.shape[1])
    parts = [
        function(one.index_select(0, left), other.index_select(0, right))
        for left, right in zip(first.split(step), second.split(step))
    ]
    return torch.cat(parts) if parts else one.new_zeros(0)


def region_features(
    means: Tensor,
    images: np.ndarray,
    tokens: Tokens,
    scale: Tensor,
    profiles: Tensor | None = None,
    members: Tensor | None = None,
) -> Tensor:
    """Return the feature of each region, ``L2N(softmax(scale m F^T) F)``, ``(k, C)`` (equation 5).

    It is not the sum of the children's features: patches at a boundary, which two regions share, would make all of
    them alike.

    Args:
        means: ``(k, C)`` plain means of unit features; float64 gives the features in float64.
        images: ``(k,)`` image of each region, ascending.
        tokens: of the images.
        scale: ``(k, 1)``: 1 / sigma, or for sums of affinities the area / sigma.
        profiles: ``(k, n)`` of the regions, where they are kept.
        members: ``(k, n)`` bool, patches that the softmax runs over; ``None`` is all of them.
    """
    unit = tokens.double if means.dtype == torch.float64 else tokens.single
    parts = []
    step = max(1, numbers_at_once(tokens.device, AT_ONCE) // tokens.per_image)
    for start in range(0, len(means), step):
        some = slice(start, start + step)
        rows = Rows(images[some], tokens)
        logits = (rows.times(means[some], unit.mT) if profiles is None else profiles[some]) * scale[some]
        if members is not None:
            logits.masked_fill_(~members[some], -torch.inf)
        parts.append(F.normalize(rows.times(logits.softmax(1), unit), dim=1))
    return torch.cat(parts) if parts else means


def reaches(similarity: np.ndarray, taus: np.ndarray, exact: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return which similarities are at least their thresholds, ``(e,)`` bool, whatever their float32 rounding.

    Args:
        similarity: ``(e,)`` float32.
        taus: ``(e,)`` float64.
        exact: gives the float64 similarities of some positions.
    """
    reached = similarity >= taus
    near = np.flatnonzero(np.abs(similarity - taus) < DECIDED_IN_FLOAT64)
    if len(near):
        reached[near] = exact(near) >= taus[near]
    return reached


def numbers_at_once(device: torch.device, on_a_cpu: int) -> int:
    """Return how many numbers of profiles are worked on at a time."""
    return on_a_cpu if device.type == "cpu" else ON_A_CARD
