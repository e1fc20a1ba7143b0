"""Evaluate a detector, or a set of masks, on a data set with ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.data.catalog import load_dataset
from unseg_d2.detectors.protocol import Engine
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.class_agnostic import evaluate
from unseg_d2.training.prediction import predict_to_file

Figures = dict[str, dict[str, float]]  # {"bbox": {"AP": percent, ...}, "segm": {...}}


def ground_truth(records: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Turn records back into a COCO dictionary of one category.

    Args:
        records: Detectron2's standard dataset dicts with annotations.
        name: of the data set, for the message.

    Raises:
        UnsegError: no record has annotations.
    """
    images = [{key: record[key] for key in ("file_name", "height", "width")} for record in records]
    for image, record in zip(images, records):
        image["id"] = record["image_id"]
    annotations = [
        {**annotation, "image_id": record["image_id"], "category_id": 1}
        for record in records
        for annotation in record.get("annotations", [])
    ]
    if not annotations:
        raise UnsegError(f"{name} has no annotations, so there is nothing to compare with.")
    for index, annotation in enumerate(annotations):
        annotation["id"] = index + 1
        annotation.setdefault("iscrowd", 0)
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}


def score(records: list[dict[str, Any]], results: list[dict[str, Any]], cfg: CfgNode, name: str) -> Figures:
    """Compare results with the annotations of a data set, class-agnostically.

    Args:
        records: the data set.
        results: COCO results.
        cfg: ``TEST.NO_SEGM`` leaves the masks out.
        name: of the data set, for messages.

    Returns:
        Figures in percent per kind of overlap.
    """
    truth = ground_truth(records, name)
    with_masks = not cfg.TEST.NO_SEGM and all(annotation.get("segmentation") for annotation in truth["annotations"])
    return evaluate(truth, results, iou_types=("bbox", "segm") if with_masks else ("bbox",))


def evaluate_detector(
    engine: Engine, cfg: CfgNode, *, weights: str, dataset: str, output: Path, num_processes: int = 1
) -> Figures:
    """Predict over a data set and score the predictions.

    Args:
        engine: the engine that runs the network.
        cfg: recipe of the network.
        weights: checkpoint.
        dataset: built-in name or COCO json of the data set.
        output: folder of the predictions.
        num_processes: processes that share the prediction.

    Returns:
        Figures in percent.
    """
    records = load_dataset(dataset, cfg)
    predictions = predict_to_file(engine, cfg, records, weights=weights, output=output, num_processes=num_processes)
    return score(records, json.loads(predictions.read_text()), cfg, dataset)


def check_expected(figures: Figures, expected: list[list[Any]]) -> None:
    """Compare figures with ``TEST.EXPECTED_RESULTS``.

    Args:
        figures: what was measured.
        expected: rows ``[kind, metric, value, tolerance]``.

    Raises:
        UnsegError: a figure lies outside its tolerance.

    >>> check_expected({"bbox": {"AP": 10.0}}, [["bbox", "AP", 10.5, 1.0]])
    """
    wrong = [
        f"{kind}/{metric} is {figures[kind][metric]:.2f}, expected {value} +- {tolerance}"
        for kind, metric, value, tolerance in expected
        if not abs(figures[kind][metric] - value) <= tolerance
    ]
    if wrong:
        raise UnsegError("Results differ from TEST.EXPECTED_RESULTS: " + "; ".join(wrong) + ".")
