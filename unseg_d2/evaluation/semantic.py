"""Metrics of unsupervised semantic segmentation: clusters are matched with classes, then mIoU and pixel accuracy.

One confusion matrix is counted over the whole set, and the matching is made on it: the best that any naming of the
clusters could reach, as in the published results.

Shape legend
    P   predicted clusters
    K   classes of the ground truth
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

Matching = Literal["hungarian", "majority", "none"]
MATCHINGS = ("hungarian", "majority", "none")


class Confusion:
    """Counts how many pixels of each cluster lie in each class.

    Args:
        num_clusters: P.
        num_classes: K.

    Attributes:
        counts: ``(P, K)`` int64.
    """

    def __init__(self, num_clusters: int, num_classes: int) -> None:
        self.counts = np.zeros((num_clusters, num_classes), dtype=np.int64)

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Count one image.

        Args:
            prediction: integers of any shape in [0, P).
            truth: integers of the same shape; pixels outside [0, K), such as 255, are left out.

        Raises:
            ValueError: the two have different sizes, or there is a cluster outside [0, P).
        """
        clusters, classes = self.counts.shape
        if prediction.shape != truth.shape:
            raise ValueError(f"the prediction {prediction.shape} does not have the size of the labels {truth.shape}")
        if prediction.size and not (prediction.min() >= 0 and prediction.max() < clusters):
            raise ValueError(f"the prediction has clusters outside of 0 to {clusters - 1}")
        counted = (truth >= 0) & (truth < classes)
        pairs = prediction[counted].astype(np.int64) * classes + truth[counted]
        self.counts += np.bincount(pairs, minlength=clusters * classes).reshape(clusters, classes)


@dataclass(frozen=True)
class SemanticScores:
    """Metrics in percent.

    Attributes:
        miou: mean IoU over the classes that occur or are predicted.
        accuracy: share of the pixels that are right.
        iou: of each class ``(K,)``; NaN for a class that neither occurs nor is predicted.
        matching: class of each cluster ``(P,)``; -1 for a cluster without one.
    """

    miou: float
    accuracy: float
    iou: np.ndarray
    matching: np.ndarray


def semantic_scores(counts: np.ndarray, matching: Matching) -> SemanticScores:
    """Match clusters with classes and return the metrics.

    Args:
        counts: ``(P, K)`` pixels of cluster p in class k, see :class:`Confusion`.
        matching: ``hungarian`` gives each class at most one cluster, so that most pixels are right (the published
            protocol). With more clusters than classes (over-clustering) all pixels of a cluster without a class are
            wrong; with fewer, a class without a cluster has an IoU of 0. ``majority`` gives each cluster the class that
            most of its pixels have, and a class may have several: it favours many clusters, and results of different P
            are not comparable. ``none`` takes cluster p as class p, for a classifier that was trained with labels.

    Raises:
        ValueError: no pixel was counted, or an unknown matching.
    """
    if not counts.sum():
        raise ValueError("no labelled pixel was counted")
    assigned, classes = match_clusters(counts, matching), counts.shape[1]
    merged = np.zeros((classes + 1, classes), dtype=np.int64)  # the last row is of clusters without a class
    np.add.at(merged, assigned, counts)
    right = merged.diagonal().astype(float)
    union = merged[:classes].sum(1) + merged.sum(0) - right
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = np.where(union > 0, 100 * right / union, np.nan)
    return SemanticScores(float(np.nanmean(iou)), float(100 * right.sum() / counts.sum()), iou, assigned)


def match_clusters(counts: np.ndarray, matching: Matching) -> np.ndarray:
    """Return the class of each cluster, ``(P,)``; -1 for a cluster without one.

    Args:
        counts: ``(P, K)`` how often cluster p and class k were seen together.
        matching: see :func:`semantic_scores`.

    Raises:
        ValueError: an unknown matching.
    """
    assigned = np.full(len(counts), -1)
    if matching == "hungarian":
        rows, columns = linear_sum_assignment(counts, maximize=True)
        assigned[rows] = columns
    elif matching == "majority":
        assigned[:] = np.where(counts.any(1), counts.argmax(1), -1)
    elif matching == "none":
        assigned[: min(counts.shape)] = np.arange(min(counts.shape))
    else:
        raise ValueError(f"the matching must be one of {', '.join(MATCHINGS)}, got '{matching}'")
    return assigned
