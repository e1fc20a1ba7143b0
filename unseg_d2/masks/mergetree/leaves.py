"""What a tree of merges begins with: patches or superpixels, described by features and colour, with their borders.

Shape legend
    H, W   height and width in pixels
    h, w   rows and columns of the patch grid
    C      feature channels
    n      leaves
    e      pairs of neighbouring leaves
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy import sparse

from unseg_d2.graph.merge_tree import Borders

BLUR = 1.0  # sigma of the Gaussian before watershed and gradients, pixels
STEPS = 2  # levels per unit of Lab in the watershed, which takes whole numbers
UNSEEN = 0.1  # step of Lab per pixel below which edges are equally weak


class Leaves(NamedTuple):
    """The smallest regions of an image.

    Attributes:
        labels: ``(H, W)`` int64 leaf of each pixel, in [0, n).
        points: ``(n, C + 3)`` float64: features, then colour, scaled to their shares of the variance.
        edges: ``(2, e)`` int64, each pair of neighbours once.
        borders: length in pixels and mean edge strength of the border of each pair.
    """

    labels: np.ndarray
    points: np.ndarray
    edges: np.ndarray
    borders: Borders


def leaves_of(tokens: np.ndarray, pixels: np.ndarray, superpixels: int, colour: float) -> Leaves:
    """Divide an image into leaves, and describe each by what is in it.

    A leaf's features are the mean over its pixels of the tokens, interpolated between the centres of the patches.

    Args:
        tokens: ``(C, h, w)`` finite patch features.
        pixels: ``(H, W, 3)`` uint8 RGB of the same image, at least one pixel per patch.
        superpixels: about how many superpixels; 0 takes the patches.
        colour: share of colour (mean Lab) in the variance of the points, in [0, 1]; the features have the others.
    """
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    smooth = cv2.GaussianBlur(lab, (0, 0), BLUR)
    labels = superpixels_of(smooth, superpixels) if superpixels else patches_of(lab.shape[:2], tokens.shape[1:])
    sizes = np.bincount(labels.ravel()).astype(np.float64)
    features = shares(labels, tokens.shape[1:]) @ tokens.reshape(len(tokens), -1).T.astype(np.float64)
    colours = np.stack([np.bincount(labels.ravel(), channel.ravel()) for channel in lab.transpose(2, 0, 1)], axis=1)
    groups = ((features, 1 - colour), (colours / sizes[:, None], colour))
    points = np.concatenate([share**0.5 * standardised(group, sizes) for group, share in groups], axis=1)
    return Leaves(labels, points, *borders_of(labels, edge_strength(smooth)))


def superpixels_of(smooth: np.ndarray, count: int) -> np.ndarray:
    """Return the superpixel of each pixel, ``(H, W)`` int64, each in one piece: OpenCV's watershed of the colours.

    It floods from a regular grid of seeds, as for Waterpixels (Machairas et al., TIP 2015), but without their
    regularisation: superpixels are as large as the edges let them become.

    Args:
        smooth: ``(H, W, 3)`` float32 Lab, blurred.
        count: about how many; there is at most one per pixel.
    """
    height, width = smooth.shape[:2]
    rows = min(max(round((count * height / width) ** 0.5), 1), height)
    columns = min(max(round(count / rows), 1), width)
    places = [(2 * np.arange(number) + 1) * side // (2 * number) for number, side in ((rows, height), (columns, width))]
    labels = np.zeros((height + 2, width + 2), dtype=np.int32)  # OpenCV makes the outermost pixels an edge
    labels[1:-1, 1:-1][np.ix_(*places)] = np.arange(1, rows * columns + 1).reshape(rows, columns)
    levels = np.clip(STEPS * smooth + (0, 128, 128), 0, 255).astype(np.uint8)
    cv2.watershed(cv2.copyMakeBorder(levels, 1, 1, 1, 1, cv2.BORDER_REPLICATE), labels)
    return without_lines(labels[1:-1, 1:-1]).astype(np.int64) - 1


def without_lines(labels: np.ndarray) -> np.ndarray:
    """Give each pixel without a label (below 1) that of a neighbour: above, below, left or right, the first with one.

    Args:
        labels: ``(H, W)`` int32, at least one of them above 0.
    """
    while (labels < 1).any():
        around = np.pad(labels, 1)
        for neighbour in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
            labels = np.where((labels < 1) & (neighbour > 0), neighbour, labels)
    return labels


def patches_of(size: tuple[int, ...], grid: tuple[int, ...]) -> np.ndarray:
    """Return the patch of each pixel, ``(H, W)`` int64 row-major, of an image of a size ``(H, W)``."""
    rows, columns = (np.arange(length) * side // length for length, side in zip(size, grid))
    return np.asarray(rows[:, None] * grid[1] + columns)


def shares(labels: np.ndarray, grid: tuple[int, ...]) -> sparse.csr_array:
    """Return how much each patch counts in the mean of each leaf, ``(n, h w)``; rows add up to 1.

    Args:
        labels: ``(H, W)`` leaf of each pixel.
        grid: ``(h, w)``; between the centres of patches, their weights change linearly.
    """
    axes = []
    for length, side in zip(labels.shape, grid):
        place = np.clip((np.arange(length) + 0.5) * side / length - 0.5, 0, side - 1)
        first = np.minimum(place.astype(np.int64), max(side - 2, 0))
        axes.append([(first, 1 - (place - first)), (np.minimum(first + 1, side - 1), place - first)])
    parts = [
        ((above[:, None] * grid[1] + left).ravel(), (share[:, None] * other).ravel())
        for above, share in axes[0]
        for left, other in axes[1]
    ]
    columns, weights = (np.concatenate(values) for values in zip(*parts))
    rows = np.tile(labels.ravel(), len(parts))
    sums = sparse.coo_array((weights, (rows, columns)), shape=(labels.max() + 1, grid[0] * grid[1])).tocsr()
    return sparse.csr_array(sparse.diags_array(1 / np.bincount(labels.ravel())) @ sums)


def standardised(group: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return points ``(n, C)`` at mean 0 and a mean square length of 1 over the image; what is all alike becomes 0.

    Args:
        group: ``(n, C)``.
        sizes: ``(n,)`` weights of the points.
    """
    centred = group - np.average(group, axis=0, weights=sizes)
    variance = np.average((centred**2).sum(1), weights=sizes)
    alike = variance <= (1e-6 * np.abs(group).max()) ** 2  # what rounding leaves
    return np.zeros_like(centred) if alike else centred / variance**0.5


def edge_strength(smooth: np.ndarray) -> np.ndarray:
    """Return the length of the colour gradient, ``(H, W)`` float32, Lab per pixel and at least :data:`UNSEEN`.

    Args:
        smooth: ``(H, W, 3)`` float32 Lab.
    """
    steps = [cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (0, 1)]
    return np.maximum(np.sqrt(sum((step**2).sum(-1) for step in steps)), UNSEEN)


def borders_of(labels: np.ndarray, strength: np.ndarray) -> tuple[np.ndarray, Borders]:
    """Return which leaves are neighbours, and their borders.

    Args:
        labels: ``(H, W)``.
        strength: ``(H, W)`` of the edges; between two pixels it is that of the stronger one.

    Returns:
        Pairs ``(2, e)``, and length and mean strength of each.
    """
    first, second = pairs_of(labels)
    across = np.flatnonzero(first != second)
    strengths = np.maximum(*pairs_of(strength))[across]
    low, high = np.minimum(first, second)[across], np.maximum(first, second)[across]
    count = labels.max() + 1
    keys, edge, lengths = np.unique(low * count + high, return_inverse=True, return_counts=True)
    totals = np.bincount(edge, strengths, minlength=len(keys))
    return np.stack([keys // count, keys % count]), Borders(lengths.astype(np.float64), totals / lengths)


def pairs_of(raster: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what two neighbouring pixels of ``(H, W)`` have, those to the right of each other first."""
    left, right, above, below = (part.ravel() for part in (raster[:, :-1], raster[:, 1:], raster[:-1], raster[1:]))
    return np.concatenate([left, above]), np.concatenate([right, below])
