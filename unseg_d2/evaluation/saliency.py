"""How well a soft mask shows the salient object: accuracy, IoU, F-measure, S-measure and mean absolute error.

Shape legend
    n      images
    H, W   height and width of an image in pixels
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

BETA_SQUARED = 0.3
NUM_THRESHOLDS = 255
"""Thresholds 0, 1/255, ..., 254/255; foreground is what lies above."""

SMALL = np.finfo(np.float64).eps


@dataclass(frozen=True)
class SaliencyScores:
    """Metrics of each image, so that two methods can be compared image by image.

    Attributes:
        accuracy: ``(n,)`` share of pixels where the mask, cut at one half, is right.
        iou: ``(n,)`` of the mask cut at one half; NaN where neither mask nor truth shows anything.
        f_measure: ``(n, 255)`` at each threshold, beta squared being .3.
        s_measure: ``(n,)`` structure measure (Fan et al., ICCV 2017).
        error: ``(n,)`` mean absolute error of the soft mask.
    """

    accuracy: np.ndarray
    iou: np.ndarray
    f_measure: np.ndarray
    s_measure: np.ndarray
    error: np.ndarray

    def means(self, chosen: np.ndarray | None = None) -> dict[str, float]:
        """Return the metrics of the set in [0, 1]: ``Acc``, ``IoU``, ``maxF``, ``Sm`` and ``MAE``.

        The F-measure is averaged over the images at each threshold before the best is taken.

        Args:
            chosen: indices of the images that count, a repeated one repeatedly; all by default.
        """
        part = slice(None) if chosen is None else chosen
        iou = self.iou[part]
        return {
            "Acc": float(self.accuracy[part].mean()),
            "IoU": float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan"),
            "maxF": float(self.f_measure[part].mean(0).max()),
            "Sm": float(self.s_measure[part].mean()),
            "MAE": float(self.error[part].mean()),
        }


def score_saliency(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> SaliencyScores:
    """Score soft masks image by image.

    Args:
        pairs: ``(H, W)`` float in [0, 1] and ``(H, W)`` bool, the truth, of each image.

    Raises:
        ValueError: a mask and its truth differ in size, or there are none.
    """
    rows = [score_image(mask, truth) for mask, truth in pairs]
    if not rows:
        raise ValueError("there are no masks to score")
    return SaliencyScores(*(np.array(column) for column in zip(*rows)))


def score_image(mask: np.ndarray, truth: np.ndarray) -> tuple[float, float, np.ndarray, float, float]:
    """Return accuracy, IoU, F-measures ``(255,)``, S-measure and mean absolute error of one soft mask.

    Args:
        mask: ``(H, W)`` float in [0, 1].
        truth: ``(H, W)`` bool.
    """
    if mask.shape != truth.shape:
        raise ValueError(f"a mask of {mask.shape} px does not fit a truth of {truth.shape}")
    mask, truth = mask.astype(np.float64), truth.astype(bool)
    hard = mask > 0.5
    union = (hard | truth).sum()
    iou = (hard & truth).sum() / union if union else np.nan
    return (
        (hard == truth).mean(),
        iou,
        f_measures(mask, truth),
        s_measure(mask, truth),
        np.abs(mask - truth).mean(),
    )


def f_measures(mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the F-measure at each threshold, ``(255,)``.

    The precision is 1 where nothing lies above the threshold, the recall is 1 where the truth is empty, and the
    F-measure is 0 where both are 0.
    """
    thresholds = np.arange(NUM_THRESHOLDS) / NUM_THRESHOLDS
    inside = np.sort(mask[truth])
    found = mask.size - np.searchsorted(np.sort(mask, axis=None), thresholds, side="right")
    hits = inside.size - np.searchsorted(inside, thresholds, side="right")
    precision = np.where(found > 0, hits / np.maximum(found, 1), 1.0)
    recall = hits / inside.size if inside.size else np.ones(NUM_THRESHOLDS)
    divisor = BETA_SQUARED * precision + recall
    return np.where(divisor > 0, (1 + BETA_SQUARED) * precision * recall / np.maximum(divisor, SMALL), 0.0)


def s_measure(mask: np.ndarray, truth: np.ndarray) -> float:
    """Return the structure measure: half the likeness of object and background, half that of four regions.

    Args:
        mask: ``(H, W)`` float in [0, 1].
        truth: ``(H, W)`` bool; where it is all true or all false, the measure is the share of the mask that agrees.
    """
    share = truth.mean()
    if share in (0, 1):
        return float(mask.mean() if share else 1 - mask.mean())
    inside, outside = _uniformity(mask[truth]), _uniformity(1 - mask[~truth])
    by_object = share * inside + (1 - share) * outside
    return max(0.0, float(0.5 * by_object + 0.5 * _by_region(mask, truth.astype(np.float64))))


def _uniformity(values: np.ndarray) -> float:
    """How large and how alike values are (equation 5)."""
    deviation = values.std(ddof=1) if values.size > 1 else 0.0
    return 2 * values.mean() / (values.mean() ** 2 + 1 + deviation + SMALL)


def _by_region(mask: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity of the four parts around the centre of the truth, weighted by their areas."""
    row, column = (int(np.round(index.mean())) + 1 for index in np.nonzero(truth))
    total = 0.0
    for rows in (np.s_[:row], np.s_[row:]):
        for columns in (np.s_[:column], np.s_[column:]):
            part = mask[rows, columns]
            if part.size:
                total += part.size * _similarity(part, truth[rows, columns])
    return total / mask.size


def _similarity(mask: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity without its constants (equation 3)."""
    mean, expected = mask.mean(), truth.mean()
    degrees = mask.size - 1 + SMALL
    variance, spread = ((mask - mean) ** 2).sum() / degrees, ((truth - expected) ** 2).sum() / degrees
    covariance = ((mask - mean) * (truth - expected)).sum() / degrees
    above, below = 4 * mean * expected * covariance, (mean**2 + expected**2) * (variance + spread)
    if above:
        return above / (below + SMALL)
    return 0.0 if below else 1.0
