"""MaskCut as published: every iteration step by step, quirks included.

The published code zeroes the features of painted patches but keeps them in the graph, where they form a block that is
connected to nothing. When the rest has no cheaper cut, the next cut separates that block and the same object is found
again: it is blanked as a repetition, and, because the blanked mask is what the following one is compared with, it is
accepted one iteration later.

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unseg_d2.graph.affinity import binary_affinity_by_precision
from unseg_d2.graph.ncut import second_eigenvector, usable_vectors
from unseg_d2.masks.bipartition import connected_component, foreground_side, intersection_over_union
from unseg_d2.transfer import to_card


@dataclass(frozen=True)
class ParityStep:
    """One iteration on one image; all maps ``(h, w)``.

    Attributes:
        eigenvector: float64, D-orthonormal, of canonical sign.
        side: bool, foreground side of the bipartition.
        seed: row-major index of the seed patch.
        component: bool, the component of the side that holds the seed.
        mask: bool, the component, or nothing where it was blanked as a repetition or as too small.
        output: bool, the mask without the masks of earlier iterations.
    """

    eigenvector: np.ndarray
    side: np.ndarray
    seed: int
    component: np.ndarray
    mask: np.ndarray
    output: np.ndarray


def parity_steps(
    tokens: Tensor, *, tau: float, eps: float, num_masks: int, max_overlap: float, min_area: float
) -> list[list[ParityStep]]:
    """Run all ``num_masks`` iterations on each image; the published code never stops early.

    Args:
        tokens: ``(b, C, h, w)`` finite features.
        tau: cosine above which two patches are connected; compared in float32 in the first iteration and in float64
            after it, as published.
        eps: weight of an edge between patches that are not connected.
        num_masks: N in the paper.
        max_overlap: IoU with the previous mask above which a mask is blanked.
        min_area: share of the grid up to which a mask after the first is blanked.

    Returns:
        The steps of each image. They depend on the sign of the eigenvector where the side of its peak touches three
        corners or more; here the peak is positive, published results have the sign that LAPACK happened to give.
    """
    b, _, h, w = tokens.shape
    painted = np.zeros((b, h, w), dtype=bool)
    previous = np.zeros((b, h, w), dtype=bool)
    steps: list[list[ParityStep]] = [[] for _ in range(b)]
    single, double = binary_affinity_by_precision(tokens.flatten(2), tau, eps)
    for iteration in range(num_masks):
        affinity = double if iteration else single
        graph = affinity.isolate(to_card(torch.from_numpy(painted).flatten(1), tokens.device))
        # Where all patches are alike, any vector is an eigenvector and LAPACK's choice means nothing: no foreground.
        vectors = usable_vectors(second_eigenvector(graph)).reshape(b, h, w)
        for i, vector in enumerate(vectors):
            side, seed = foreground_side(vector)
            component = connected_component(side, seed)
            repeated = iteration > 0 and intersection_over_union(previous[i], component) > max_overlap
            too_small = iteration > 0 and component.mean() <= min_area
            mask = np.zeros_like(component) if repeated or too_small else component
            steps[i].append(ParityStep(vector, side, seed, component, mask, mask & ~painted[i]))
            painted[i] |= mask
            previous[i] = mask
    return steps
