"""Random walker on a grid of pixels (Grady, Random walks for image segmentation, PAMI 2006).

Shape legend
    H, W   height and width in pixels
    u      pixels without a label
    k      labels
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu


def random_walker(seeds: np.ndarray, region: np.ndarray, edges: np.ndarray, beta: float) -> np.ndarray:
    """Give every pixel of a region the label whose seeds a random walk from it reaches first most probably.

    A walk moves to one of the four neighbours in the region, with a probability in proportion to ``exp(-beta * e)``, e
    being the larger edge strength of the two pixels.

    Args:
        seeds: ``(H, W)`` int, labels from 1, 0 where a label is wanted; what lies outside of the region does not count.
        region: ``(H, W)`` bool.
        edges: ``(H, W)`` in [0, 1].
        beta: from 0, how seldom a walk crosses an edge.

    Returns:
        ``(H, W)`` int; 0 outside of the region and where no seed can be reached. In a tie the lower label wins.
    """
    labels = np.where(region, seeds, 0)
    parts, _ = ndimage.label(region)
    with_seeds = np.zeros(parts.max() + 1, bool)
    with_seeds[parts[labels > 0]] = True
    wanted = region & (labels == 0) & with_seeds[parts]
    if not wanted.any():
        return labels
    first, second, weights = _links(region, edges, beta)
    number = np.full(labels.size, -1)
    number[wanted.ravel()] = np.arange(np.count_nonzero(wanted))
    pairs = np.concatenate([np.stack([first, second]), np.stack([second, first])], axis=1)
    weights = np.tile(weights, 2)
    own = number[pairs[0]] >= 0
    (here, there), weights = pairs[:, own], weights[own]
    count, most = int(wanted.sum()), int(labels.max())
    degree = np.bincount(number[here], weights, minlength=count)
    inside = number[there] >= 0
    matrix = coo_array((-weights[inside], (number[here[inside]], number[there[inside]])), shape=(count, count))
    diagonal = coo_array((degree, (np.arange(count), np.arange(count))), shape=(count, count))
    drawn = np.zeros((count, most))
    np.add.at(drawn, (number[here[~inside]], labels.ravel()[there[~inside]] - 1), weights[~inside])
    probabilities = splu(csc_array(matrix + diagonal)).solve(drawn)
    labels[wanted] = 1 + probabilities.argmax(axis=1)
    return labels


def _links(region: np.ndarray, edges: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the row-major indices of neighbours in the region, each pair once, and the weights between them."""
    numbers = np.arange(region.size).reshape(region.shape)
    first, second, strengths = [], [], []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        joined = region[one] & region[other]
        first.append(numbers[one][joined])
        second.append(numbers[other][joined])
        strengths.append(np.maximum(edges[one], edges[other])[joined])
    return np.concatenate(first), np.concatenate(second), np.exp(-beta * np.concatenate(strengths).astype(np.float64))
