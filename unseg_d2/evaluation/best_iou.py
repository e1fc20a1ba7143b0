"""How well the best mask or box covers each object, whatever its score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from unseg_d2.evaluation.overlaps import overlaps
from unseg_d2.evaluation.registry import EVALUATORS, Kind
from unseg_d2.evaluation.streams import StreamEvaluator


@EVALUATORS.register("best_iou")
class BestIoU(StreamEvaluator):
    """Evaluator around :func:`best_ious`."""

    protocol = "BestIoU: the mean over objects of the IoU with the best result, whatever its score."

    def accumulator(self, kind: Kind) -> _Best:
        """Begin the mean of one kind of overlap."""
        return _Best(kind)


class _Best:
    """Keeps a number of each object."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.parts = kind, [np.zeros(0)]

    def update(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]]) -> None:
        """Take some images in."""
        self.parts.append(best_ious(truth, results, self.kind))

    def compute(self) -> dict[str, float]:
        """Return the mean in percent as ``BestIoU``; NaN without objects."""
        best = np.concatenate(self.parts)
        return {"BestIoU": 100 * float(best.mean()) if best.size else float("nan")}


def best_ious(ground_truth: Mapping[str, Any], results: Iterable[dict[str, Any]], iou_type: str = "segm") -> np.ndarray:
    """Return for each object the largest IoU that a result of its image has with it.

    The mean over objects is what the literature on proposals calls the average best overlap (ABO).

    Args:
        ground_truth: COCO dictionary with ``images`` and ``annotations``; crowd regions do not count.
        results: ``{image_id, segmentation (RLE), bbox (XYWH, px)}`` each; only the one that is compared is needed.
        iou_type: ``segm`` compares masks, ``bbox`` boxes.

    Returns:
        ``(number of objects,)`` float64 in [0, 1], in the order of the annotations.
    """
    best = np.zeros(len(ground_truth["annotations"]))
    for image in overlaps(ground_truth, results, iou_type):
        best[image.objects] = image.ious.max(0, initial=0)
    counted = [not annotation.get("iscrowd") for annotation in ground_truth["annotations"]]
    return best[np.array(counted, dtype=bool)]
