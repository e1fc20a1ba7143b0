"""Spatial Confidence: how much a 3D cut depends on its threshold (CutS3D, section 3.4, equation 4).

Shape legend
    h, w   rows and columns of the patch grid
    T      thresholds
"""

from __future__ import annotations

import numpy as np


def threshold_range(tau_knn: float, t_min: float, num_thresholds: int) -> np.ndarray:
    """Return T thresholds, evenly spaced from ``t_min * tau_knn`` to ``tau_knn``, both included.

    Args:
        tau_knn: the largest threshold, at which the mask itself is cut.
        t_min: the smallest one, as a share of it.
        num_thresholds: T; 1 gives ``tau_knn`` alone.

    >>> threshold_range(0.12, 0.5, 3).round(3).tolist()
    [0.06, 0.09, 0.12]
    """
    shares = np.linspace(t_min, 1, num_thresholds) if num_thresholds > 1 else np.ones(1)
    return tau_knn * shares


def spatial_confidence(cuts: np.ndarray, mask: np.ndarray, minimum: float) -> np.ndarray:
    """Average the cuts of one mask at T thresholds.

    Args:
        cuts: ``(T, h, w)`` bool, BC in the paper.
        mask: ``(h, w)`` bool, the final cut.
        minimum: smallest confidence within the mask, in [0, 1].

    Returns:
        ``(h, w)`` float32: SC in [minimum, 1] within the mask, 0 outside.

    >>> spatial_confidence(np.array([[[True, False]], [[True, True]]]), np.array([[True, True]]), 0.5)
    array([[1. , 0.5]], dtype=float32)
    """
    return np.where(mask, np.maximum(cuts.mean(0), minimum), 0).astype(np.float32)


def confidence_score(confidence: np.ndarray, mask: np.ndarray) -> float:
    """Return the mean confidence within a mask, the score of an instance (section 3.4); 0 if it is empty."""
    return float(confidence[mask].mean()) if mask.any() else 0.0
