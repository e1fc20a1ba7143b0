"""UnionCut: the patches of all objects of an image, from a minimum cut around every patch (Wu et al., ICCV 2025).

Each patch is taken for the object once: what looks the other way is the background, and a minimum cut decides about the
rest (Boykov and Jolly, ICCV 2001). A patch of the background has a large foreground, that of an object a small one, so
that patches which are seldom in a foreground are those of objects.

Shape legend
    C      feature channels
    h, w   rows and columns of the patch grid
    r, c   rows and columns of the grid that is cut, n = r c patches
"""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.masks.batches import check_tokens
from unseg_d2.masks.bipartition import corners
from unseg_d2.masks.priors.mean_shift import estimated_bandwidth, mean_shift
from unseg_d2.masks.priors.seed_cuts import DIRECTIONS, UNITS, GridGraph, seed_foregrounds
from unseg_d2.masks.priors.settings import UnionCutSettings

ALL_CORNERS = 4  # a union that touches so many is the background
ROUNDING = 1e-9  # what it may leave of a cosine or a length of 0
LEVELS = 255  # that the number of foregrounds of a patch is stretched to before mean shift


def foreground_union(tokens: Tensor, settings: UnionCutSettings | None = None) -> np.ndarray:
    """Return the patches that belong to any object of an image.

    The published code also swaps the union with the rest where the CRF and an erosion of the union touch all corners;
    here only the union itself counts, so that the image is not needed.

    Args:
        tokens: ``(C, h, w)`` patch features of any float type.
        settings: see :class:`UnionCutSettings`; ``None`` takes the defaults.

    Returns:
        ``(h, w)`` bool; all false if no two patches look opposite ways, or all patches are in as many foregrounds.

    Raises:
        ValueError: if the features are not finite.
    """
    settings = settings or UnionCutSettings()
    check_tokens(tokens[None])
    cells = coarse(tokens, settings.grid)
    votes = seed_foregrounds(grid_graph(cells)).sum(0)
    union = union_of_votes(votes.reshape(cells.shape[1:]), settings.quantile)
    rows, columns = (np.arange(size) * cut // size for size, cut in zip(tokens.shape[1:], union.shape))
    return union[rows[:, None], columns]


def coarse(tokens: Tensor, most: int) -> np.ndarray:
    """Return tokens of length 1 on a grid of at most ``most`` rows and columns, averaged where they were finer.

    Features without negative entries, such as descriptors, have no opposites. Their mean over the image is subtracted,
    which is not published.

    Args:
        tokens: ``(C, h, w)``.
        most: rows or columns of the longer side.

    Returns:
        ``(C, r, c)`` float64, of length 1 before they are averaged.
    """
    units = F.normalize(tokens.detach().cpu().double(), dim=0)
    if not (units < 0).any():
        units = F.normalize(units - units.mean((1, 2), keepdim=True), dim=0)
    h, w = units.shape[1:]
    longer = max(h, w)
    if longer > most:
        size = (max(1, round(h * most / longer)), max(1, round(w * most / longer)))
        units = F.adaptive_avg_pool2d(units[None], size)[0]
    return np.asarray(units.numpy())


def grid_graph(cells: np.ndarray) -> GridGraph:
    """Return the graph in which every patch is cut out once.

    Links of a patch to its 8 neighbours have the capacity ``exp(-d^2 / beta) / l`` for unit features at a distance d
    and patches at a distance l, beta being twice the mean of d^2.

    Args:
        cells: ``(C, r, c)`` float64.
    """
    channels, rows, columns = cells.shape
    units = cells / np.maximum(np.linalg.norm(cells, axis=0), ROUNDING)
    flat = units.reshape(channels, -1).T
    cosines = flat @ flat.T
    lengths = np.diagonal(cosines)
    squared = np.maximum(lengths[:, None] + lengths - 2 * cosines, 0)
    between = np.full((len(DIRECTIONS), rows, columns), np.nan)  # of each patch and its neighbour
    numbers = np.arange(rows * columns).reshape(rows, columns)
    for plane, (down, right) in zip(between, DIRECTIONS):
        here = (slice(0, rows - down), slice(max(0, -right), columns - max(0, right)))
        there = (slice(down, rows), slice(max(0, right), columns + min(0, right)))
        plane[here] = squared[numbers[here], numbers[there]]
    known = np.isfinite(between)
    beta = 2 * between[known].mean() if known.any() else 0.0
    steps = np.hypot(*np.array(DIRECTIONS).T)[:, None, None]
    links = np.where(known, np.exp(-between / max(beta, np.finfo(np.float64).tiny)) / steps, 0)
    return GridGraph(
        np.rint(links * UNITS).astype(np.int32), np.rint(np.sqrt(squared) * UNITS).astype(np.int32), cosines < -ROUNDING
    )


def union_of_votes(votes: np.ndarray, quantile: float) -> np.ndarray:
    """Return the patches that are in few foregrounds.

    The numbers of foregrounds, inverted and stretched to 0 to 255, are clustered by mean shift; of k clusters in
    ascending order, everything up to the largest number in cluster ``k // 2 - 1`` is the background. What touches all
    four corners of the image is swapped with the rest.

    Args:
        votes: ``(r, c)`` int, the number of foregrounds that each patch is in.
        quantile: see :class:`UnionCutSettings`.

    Returns:
        ``(r, c)`` bool.
    """
    least, most = int(votes.min()), int(votes.max())
    if least == most:
        return np.zeros(votes.shape, dtype=bool)
    rarity = LEVELS - (LEVELS * (votes - least) / (most - least)).astype(np.int64)
    values = rarity.ravel().astype(np.float64)
    centres, labels = mean_shift(values, estimated_bandwidth(values, quantile))
    background = values[labels <= len(centres) // 2 - 1] if len(centres) > 1 else values
    union = rarity > background.max()
    return ~union if corners(union) == ALL_CORNERS else union
