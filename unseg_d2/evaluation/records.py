"""Ground truth as the detectors hold it: a list of records instead of a COCO dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def ground_truth(records: Sequence[dict[str, Any]], categories: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Turn records back into a COCO dictionary.

    Args:
        records: Detectron2's standard dataset dicts; boxes are XYWH.
        categories: that the class numbers of the annotations stand for; without any, the numbers stay.

    Returns:
        ``images``, ``annotations`` and, where there are any, ``categories``, as
        :func:`~unseg_d2.evaluation.scores.score` takes them.

    >>> record = {"image_id": 3, "height": 4, "width": 5, "annotations": [{"bbox": [0, 0, 1, 1]}]}
    >>> ground_truth([record])["annotations"]
    [{'bbox': [0, 0, 1, 1], 'image_id': 3}]
    """
    annotations = [{**a, "image_id": r["image_id"]} for r in records for a in r.get("annotations", ())]
    for annotation in annotations if categories else ():
        annotation["category_id"] = categories[annotation["category_id"]]["id"]
    images = [{"id": r["image_id"], "height": r["height"], "width": r["width"]} for r in records]
    told_apart = {"categories": list(categories)} if categories else {}
    return {"images": images, "annotations": annotations, **told_apart}
