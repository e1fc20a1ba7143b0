"""How well the best mask or box covers each object, whatever its score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.evaluation.registry import EVALUATORS, Kind
from unseg_d2.rle import compress


@EVALUATORS.register("best_iou")
class BestIoU:
    """Evaluator around :func:`best_ious`."""

    protocol = "BestIoU: the mean over objects of the IoU with the best result, whatever its score."

    def __call__(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]], kind: Kind) -> dict[str, float]:
        """Return the mean in percent as ``BestIoU``; NaN without objects."""
        best = best_ious(truth, results, kind)
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
    sizes = {image["id"]: (image["height"], image["width"]) for image in ground_truth["images"]}
    found: dict[Any, list[Any]] = defaultdict(list)
    for result in results:
        found[result["image_id"]].append(result["segmentation"] if iou_type == "segm" else xywh(result))
    best = []
    for annotation in ground_truth["annotations"]:
        if annotation.get("iscrowd"):
            continue
        image_id = annotation["image_id"]
        given = found[image_id]
        wanted = compress(annotation["segmentation"], *sizes[image_id]) if iou_type == "segm" else xywh(annotation)
        best.append(np.max(mask_utils.iou(given, [wanted], [0])) if given else 0.0)
    return np.array(best, dtype=float)


def xywh(item: Mapping[str, Any]) -> list[float]:
    """Return the box of an annotation or a result, XYWH in pixels; where it has none, that of its RLE mask."""
    box = item["bbox"] if "bbox" in item else mask_utils.toBbox(item["segmentation"])
    return [float(value) for value in box]
