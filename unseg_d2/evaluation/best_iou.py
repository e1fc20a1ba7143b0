"""How well the best mask or box covers each object, whatever its score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.rle import compress


def best_ious(ground_truth: dict[str, Any], results: Iterable[dict[str, Any]], iou_type: str = "segm") -> np.ndarray:
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
        found[result["image_id"]].append(result["segmentation"] if iou_type == "segm" else _box(result))
    best = []
    for annotation in ground_truth["annotations"]:
        if annotation.get("iscrowd"):
            continue
        image_id = annotation["image_id"]
        given = found[image_id]
        wanted = compress(annotation["segmentation"], *sizes[image_id]) if iou_type == "segm" else _box(annotation)
        best.append(np.max(mask_utils.iou(given, [wanted], [0])) if given else 0.0)
    return np.array(best, dtype=float)


def _box(item: dict[str, Any]) -> list[float]:
    box = item["bbox"] if "bbox" in item else mask_utils.toBbox(item["segmentation"])
    return [float(value) for value in box]
