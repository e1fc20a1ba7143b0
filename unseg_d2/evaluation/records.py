"""Evaluate on a data set as the detectors hold it: a list of records instead of a COCO dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from unseg_d2.evaluation.class_agnostic import evaluate


def ground_truth(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Turn records back into a COCO dictionary.

    Args:
        records: Detectron2's standard dataset dicts; boxes are XYWH.

    Returns:
        ``images`` and ``annotations``, as :func:`~unseg_d2.evaluation.class_agnostic.evaluate` takes them.

    >>> record = {"image_id": 3, "height": 4, "width": 5, "annotations": [{"bbox": [0, 0, 1, 1]}]}
    >>> ground_truth([record])["annotations"]
    [{'bbox': [0, 0, 1, 1], 'image_id': 3}]
    """
    return {
        "images": [{"id": r["image_id"], "height": r["height"], "width": r["width"]} for r in records],
        "annotations": [{**a, "image_id": r["image_id"]} for r in records for a in r.get("annotations", ())],
    }


def evaluate_on_records(
    records: Sequence[dict[str, Any]], results: Iterable[dict[str, Any]], *, with_masks: bool = True
) -> dict[str, dict[str, float]]:
    """Compare results with the annotations of records, class-agnostically.

    Args:
        records: Detectron2's standard dataset dicts with annotations.
        results: COCO results.
        with_masks: evaluate masks as well as boxes, where all annotations have one.

    Returns:
        Figures in percent per kind of overlap.
    """
    truth = ground_truth(records)
    with_masks = with_masks and all(annotation.get("segmentation") for annotation in truth["annotations"])
    return evaluate(truth, results, ("bbox", "segm") if with_masks else ("bbox",))
