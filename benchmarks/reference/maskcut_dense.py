"""MaskCut written straight from its description, on dense matrices and SciPy's generalised eigensolver.

It shares no code with the package, whose results and times are compared with it.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy import ndimage


def maskcut_dense(
    tokens: np.ndarray, tau: float = 0.15, eps: float = 1e-5, num_masks: int = 3
) -> tuple[list[np.ndarray], bool]:
    """Return the disjoint mask of each iteration, and whether any of them depends on the sign of an eigenvector.

    Args:
        tokens: ``(C, h, w)`` float32.
        tau: cosine above which two patches are connected.
        eps: weight of an edge between patches that are not connected.
        num_masks: iterations; all of them are run.

    Returns:
        Masks ``(h, w)`` bool, some of which may be empty. Eigenvectors get the sign that makes their peak positive;
        the published code takes that of LAPACK, which may be either.
    """
    channels, height, width = tokens.shape
    features = tokens.reshape(channels, -1)
    painting = np.zeros(height * width)
    previous = None
    outputs: list[np.ndarray] = []
    sign_matters = False
    for _ in range(num_masks):
        if previous is not None:
            painting = ((painting + previous.ravel()) > 0.5).astype(np.float64)
            features = features * (1 - painting)  # float64 from here on
        vector = second_vector(features, tau, eps)
        vector *= np.sign(vector[np.abs(vector).argmax()])
        mask, ambiguous = object_mask(vector.reshape(height, width))
        sign_matters |= ambiguous
        if previous is not None and (iou(previous, mask) > 0.5 or mask.mean() <= 0.01):
            mask = np.zeros_like(mask)
        previous = mask
        covered = np.any(outputs, axis=0) if outputs else np.zeros_like(mask)
        outputs.append(mask & ~covered)
    return outputs, sign_matters


def second_vector(features: np.ndarray, tau: float, eps: float) -> np.ndarray:
    """Second generalised eigenvector of ``(D - A) x = lambda D x``."""
    unit = features / np.maximum(np.linalg.norm(features, axis=0), 1e-12)
    affinity = np.where(unit.T @ unit > tau, 1.0, eps)
    degrees = np.diag(affinity.sum(1))
    _, vectors = scipy.linalg.eigh(degrees - affinity, degrees, subset_by_index=[1, 2])
    return vectors[:, 0]


def object_mask(vector: np.ndarray) -> tuple[np.ndarray, bool]:
    """Component of the foreground side around its seed, and whether the side of the peak touches three corners."""
    side = vector > vector.mean()
    corners = sum(bool(side[y, x]) for y in (0, -1) for x in (0, -1))
    if corners >= 3:
        vector, side = -vector, ~side
    seed = np.flatnonzero(vector >= vector.max() - 1e-9 * abs(vector.max()))[0]
    labels, _ = ndimage.label(side)
    return labels == labels.flat[seed], corners >= 3


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union; NaN for two empty masks."""
    with np.errstate(invalid="ignore"):
        return np.float64((first & second).sum()) / (first | second).sum()
