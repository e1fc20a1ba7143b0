"""Recall of segmentation at every level of detail: with a thousand results per image, and of the masks of each level.

Ground truth of one level alone makes masks of other levels neither right nor false, so that precision means nothing
where every part and every group of objects may be an answer. What UnSAM and its kind report is average recall.

Shape legend
    r   results of an image, best first
    g   objects of it
    T   IoU thresholds
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unseg_d2.evaluation.overlaps import overlaps
from unseg_d2.evaluation.registry import EVALUATORS, Kind
from unseg_d2.evaluation.streams import StreamEvaluator
from unseg_d2.settings import Settings, setting

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""T IoUs of COCO."""


@dataclass(frozen=True)
class LevelsSettings(Settings):
    """Settings of :class:`Levels`."""

    max_detections: int = setting(1000, "results per image that count, best first (UnSAM: 1000)", low=1)


@EVALUATORS.register("levels", settings=LevelsSettings)
class Levels(StreamEvaluator):
    """Evaluator of the recall at each level of detail, all classes as one.

    Average recall is that of COCO, the mean over the IoUs .5, .55, ..., .95: ``AR1000`` of all objects, and
    ``AR1000-level2`` of those whose annotation says ``"level": 2``; ``Recall50-level2`` is the recall at IoU .5. Each
    level is matched by itself: a result may be the answer at one level and again at another.

    Attributes:
        results_per_image: that count, by which metrics are called.
    """

    def __init__(self, settings: LevelsSettings | None = None) -> None:
        self.settings = settings or LevelsSettings()
        self.results_per_image = most = self.settings.max_detections
        self.protocol = f"ARs by level: one class; {most} results per image count; each level is matched by itself."

    def accumulator(self, kind: Kind) -> _Recalls:
        """Begin a computation of one kind of overlap."""
        return _Recalls(kind, self.settings.max_detections)


class _Recalls:
    """Counts objects and those that are found, by level; ``None`` is all of them."""

    def __init__(self, kind: Kind, most: int) -> None:
        self.kind, self.most = kind, most
        self.found: dict[int | None, np.ndarray] = defaultdict(lambda: np.zeros(len(THRESHOLDS)))
        self.number: dict[int | None, int] = defaultdict(int)

    def update(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]]) -> None:
        """Take some images in."""
        ordered = sorted(results, key=lambda result: -float(result.get("score", 1.0)))
        levels = [annotation.get("level") for annotation in truth["annotations"]]
        for image in overlaps(truth, ordered, self.kind):
            of_objects = [levels[position] for position in image.objects]
            for level in {None, *of_objects}:
                columns = [i for i, one in enumerate(of_objects) if level is None or one == level]
                self.found[level] += recalled(image.ious[: self.most, columns]).sum(1)
                self.number[level] += len(columns)

    def compute(self) -> dict[str, float]:
        """Return the recalls in percent; NaN without objects."""
        metrics = {f"AR{self.most}": self._recall(None).mean()}
        for level in sorted(key for key in self.number if key is not None):
            recall = self._recall(level)
            metrics |= {f"AR{self.most}-level{level}": recall.mean(), f"Recall50-level{level}": recall[0]}
        return {name: 100 * float(value) for name, value in metrics.items()}

    def _recall(self, level: int | None) -> np.ndarray:
        return self.found[level] / self.number[level] if self.number[level] else np.full(len(THRESHOLDS), np.nan)


def recalled(ious: np.ndarray, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """Return which objects are found at each threshold, matched as COCO does, ``(T, g)`` bool.

    Args:
        ious: ``(r, g)``; the results, best first, choose one after another the object of the largest IoU that is still
            free, if it reaches the threshold.
        thresholds: ``(T,)``.
    """
    found = np.zeros((len(thresholds), ious.shape[1]), bool)
    if not ious.size:
        return found
    last = ious.shape[1] - 1
    for row in ious[ious.max(1) >= thresholds.min()]:
        free = np.where(~found & (row >= thresholds[:, None]), row, -1)
        choice = last - free[:, ::-1].argmax(1)  # of equal ones the last, as pycocotools
        reaches = np.flatnonzero(free[np.arange(len(free)), choice] >= 0)
        found[reaches, choice[reaches]] = True
    return found
