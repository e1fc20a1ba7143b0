"""The prompts of ProMerge: which patches look like each prompt, background or objects (ECCV 2024, section 3.1).

Shape legend
    b      images
    p      prompts: patches on a regular grid
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    m      proposals: connected components of the prompts' masks
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from unseg_d2.transfer import to_card

FEATURE_EPS = 1e-5  # added to the length of a feature before division, as published
DECIDED_IN_FLOAT64 = 1e-5  # distance from tau within which a float32 affinity, of error 1e-6, is recomputed


def prompt_indices(h: int, w: int, stride: int) -> np.ndarray:
    """Return the row-major patch index of every prompt, ``(p,)``: rows and columns 0, stride, 2 stride..."""
    return (np.arange(0, h, stride)[:, None] * w + np.arange(0, w, stride)).ravel()


def feature_lengths(tokens: Tensor) -> Tensor:
    """Return ``|f| + 1e-5`` of ``(b, C, n)`` tokens, ``(b, n)``: what ProMerge divides features by."""
    # A product with ones: PyTorch's norm over a dimension that is not the last one takes three times as long.
    return (tokens.new_ones(tokens.shape[1]) @ tokens.square()).sqrt_().add_(FEATURE_EPS)


def similar_patches(tokens: Tensor, lengths: Tensor, prompts: np.ndarray, tau: float) -> Tensor:
    """Return the patches whose affinity to each prompt is strictly above tau, ``(b, p, n)`` bool.

    The affinity is ``f_i . f_j / ((|f_i| + 1e-5) (|f_j| + 1e-5))``, nearly the cosine. Values that are too close to tau
    for float32 are computed in float64, so that the masks do not depend on the device or the number of threads.

    Args:
        tokens: ``(b, C, n)`` float32 features.
        lengths: ``(b, n)``, :func:`feature_lengths` of the tokens.
        prompts: ``(p,)`` patch indices.
        tau: threshold on the affinity, in [0, 1).
    """
    index = to_card(torch.from_numpy(prompts), tokens.device)
    unit_prompts = tokens[:, :, index] / lengths[:, None, index]
    scale = lengths[:, None]  # thresholds are scaled rather than the affinities: the tokens are read only once
    excess = torch.bmm(unit_prompts.transpose(1, 2), tokens).sub_(tau * scale)
    similar = excess > 0
    image, prompt, patch = _nonzero(excess.abs_() < DECIDED_IN_FLOAT64 * scale)
    first, second = (_unit64(tokens[image, :, j]) for j in (index[prompt], patch))
    similar[image, prompt, patch] = (first * second).sum(1) > tau
    return similar


def _nonzero(flags: Tensor) -> tuple[Tensor, ...]:
    """Return the indices of the set flags; on the CPU NumPy is ten times as fast where hardly any is set."""
    if flags.device.type != "cpu":
        return flags.nonzero(as_tuple=True)
    return torch.unravel_index(torch.from_numpy(np.flatnonzero(flags.numpy())), flags.shape)


def _unit64(vectors: Tensor) -> Tensor:
    vectors = vectors.double()
    return vectors / (vectors.norm(dim=1, keepdim=True) + FEATURE_EPS)


def sides_covered(masks: Tensor) -> Tensor:
    """Return of how many of the four sides of the image each mask covers more than half.

    Exactly half is not more: the published code rounds the fraction, half to even.

    Args:
        masks: ``(..., h, w)`` bool.
    """
    h, w = masks.shape[-2:]
    rows = torch.stack([masks[..., side, :].sum(-1) for side in (0, -1)], -1)
    columns = torch.stack([masks[..., side].sum(-1) for side in (0, -1)], -1)
    return (2 * rows > w).sum(-1) + (2 * columns > h).sum(-1)


def majority(masks: Tensor, votes: Tensor) -> Tensor:
    """Return the patches in more than half of the masks that vote, ``(b, h, w)`` bool.

    Args:
        masks: ``(b, p, h, w)`` bool.
        votes: ``(b, p)`` bool.
    """
    weight = votes.to(torch.float32)  # counts, exact up to 2^24
    counts = torch.bmm(weight[:, None], masks.flatten(2).float()).view(-1, *masks.shape[2:])
    return 2 * counts > weight.sum(1)[:, None, None]


def components(masks: np.ndarray, prompts: np.ndarray, min_size: float) -> np.ndarray:
    """Return the 4-connected components of the prompts' masks that are large enough, ``(m, h, w)`` bool.

    All masks are labelled at once, one below the other with an empty row between.

    Args:
        masks: ``(p, h, w)`` bool.
        prompts: ``(p,)`` patch index of the prompt of each mask; a mask without its own prompt has no components.
        min_size: smallest size of a component, relative to the one that holds the prompt.

    Returns:
        In the order of the prompts; those of one prompt largest first, ties in row-major order of their first patch.
    """
    p, h, w = masks.shape
    if p == 0:
        return masks
    stacked = np.zeros((p, h + 1, w), dtype=np.uint8)
    stacked[:, :h] = masks
    tall = stacked.reshape(-1, w)
    labels = cv2.connectedComponents(tall, connectivity=4)[1].reshape(p, h + 1, w)
    # A patch without a neighbour above or to the left, as every component has: where it is, and whose it is.
    corner = tall > 0
    corner[1:] &= tall[:-1] == 0
    corner[:, 1:] &= tall[:, :-1] == 0
    corners = np.flatnonzero(corner)
    sizes = np.bincount(labels.ravel())
    first = np.zeros_like(sizes)
    first[labels.ravel()[corners[::-1]]] = corners[::-1]  # of several corners the first one is written last
    owner = first // ((h + 1) * w)
    seeds = labels[np.arange(p), prompts // w, prompts % w]
    seed_sizes = np.where(seeds > 0, sizes[seeds], np.inf)
    large = np.flatnonzero(sizes >= min_size * seed_sizes[owner])
    large = large[large > 0]  # label 0 is what no mask covers
    large = large[np.lexsort((first[large], -sizes[large], owner[large]))]
    return labels[owner[large], :h] == large[:, None, None].astype(labels.dtype)
