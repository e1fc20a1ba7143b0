"""Score results against ground truth: one way from COCO dictionaries to metrics, table rows and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.class_agnostic import ClassAgnostic, ClassAgnosticSettings, check_results, image_sizes
from unseg_d2.evaluation.registry import Evaluator, Kind, check_kinds, kinds_of
from unseg_d2.evaluation.table import KINDS, as_cell

Metrics = dict[str, dict[str, float]]
"""Percent by name per kind of overlap: ``{"bbox": {"AP": 12.5, ...}, "segm": {...}}``; NaN where undefined."""


@dataclass(frozen=True)
class Scores:
    """How well results match a ground truth.

    Attributes:
        metrics: of all evaluators, per kind of overlap.
        counts: ``images``, ``images_without_objects``, ``objects``, ``crowds``, ``without_mask`` (annotations),
            ``results`` and ``ignored_images``, those of the results that the ground truth does not have.
        backend: the library that did the matching; empty where no evaluator uses one.
        result_images: images that the results are of.
        protocols: what the evaluators say about how they compute their metrics.
        notes: what masks are not compared of, and why.
        with_classes: whether one tells classes apart, so that its metrics do not compare with class-agnostic ones.
    """

    metrics: Metrics
    counts: dict[str, int]
    backend: str
    result_images: int
    protocols: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    with_classes: bool = False

    def rows(self, columns: Iterable[str], digits: int = 1) -> list[list[str]]:
        """Return the cells of a table, a row per kind of overlap.

        Args:
            columns: names of metrics; a missing one becomes a dash.
            digits: number of decimal places.

        >>> Scores({"bbox": {"AP": 12.34}}, {}, "pycocotools", 0).rows(["AP", "AR300"])
        [['box', '12.3', '-']]
        """
        columns = list(columns)
        return [
            [KINDS[kind], *(as_cell(values.get(name), digits) for name in columns)]
            for kind, values in self.metrics.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Return ``figures`` and ``counts`` as JSON has them, with null for NaN.

        >>> Scores({"bbox": {"AP": 50.0, "APl": float("nan")}}, {"images": 1}, "pycocotools", 1).to_json()
        {'figures': {'bbox': {'AP': 50.0, 'APl': None}}, 'counts': {'images': 1}}
        """
        figures = {
            kind: {name: None if value != value else value for name, value in values.items()}
            for kind, values in self.metrics.items()
        }
        return {"figures": figures, "counts": dict(self.counts)}


def read_metrics(figures: Mapping[str, Mapping[str, float | None]]) -> Metrics:
    """Return the metrics that :meth:`Scores.to_json` wrote as ``figures``, with NaN for null.

    >>> read_metrics({"bbox": {"AP": 50.0, "APl": None}})
    {'bbox': {'AP': 50.0, 'APl': nan}}
    """
    return {
        kind: {name: math.nan if value is None else value for name, value in values.items()}
        for kind, values in figures.items()
    }


def score(
    truth: Mapping[str, Any],
    results: Iterable[dict[str, Any]],
    evaluators: Mapping[str, Evaluator] | None = None,
    *,
    with_masks: bool = True,
    result_images: int | None = None,
    ignored_images: int = 0,
) -> Scores:
    """Compare results with ground truth by each evaluator; every score of detections and label sets is computed here.

    Args:
        truth: COCO dictionary with ``images`` and ``annotations``.
        results: COCO results with the image ids of the truth, see `unseg_d2.evaluation.registry.Evaluator`.
        evaluators: by name, see `unseg_d2.evaluation.registry.build_evaluators`; by default class-agnostic AP and AR.
        with_masks: compare masks as well as boxes, where annotations and results have any.
        result_images: images that the results are of, where some are known to have none; counted by default.
        ignored_images: images whose results were left out before, for the counts.

    Raises:
        UnsegError: a result is of an unknown image, an evaluator compares masks where there are none, or two
            evaluators give a metric the same name.
    """
    content, found = dict(truth), list(results)
    chosen = evaluators or {"class_agnostic": ClassAgnostic(ClassAgnosticSettings())}
    check_results(found, image_sizes(content))
    kinds, reason = _kinds(content["annotations"], found, with_masks)
    check_kinds(chosen, kinds, reason)
    compared = {"bbox": (content, found)} | ({"segm": _with_masks(content, found)} if "segm" in kinds else {})
    metrics: Metrics = {kind: {} for kind in kinds}
    for name, evaluator in chosen.items():
        for kind in kinds:
            if kind in kinds_of(evaluator):
                _add(metrics[kind], evaluator(*compared[kind], kind), name)
    counts = _counts(content) | {"results": len(found), "ignored_images": ignored_images}
    if result_images is None:
        result_images = len({result["image_id"] for result in found})
    protocols = tuple(text for evaluator in chosen.values() if (text := getattr(evaluator, "protocol", "")))
    backend = next((one.backend for one in chosen.values() if hasattr(one, "backend")), "")
    apart = any(getattr(one, "with_classes", False) for one in chosen.values())
    notes = _notes(content["annotations"], found, kinds, reason) if with_masks else ()
    metrics = {kind: of for kind, of in metrics.items() if of}
    return Scores(metrics, counts, backend, result_images, protocols, notes, apart)


def _kinds(
    annotations: list[dict[str, Any]], results: list[dict[str, Any]], with_masks: bool
) -> tuple[list[Kind], str]:
    """Return what can be compared, and why masks cannot."""
    if not with_masks:
        return ["bbox"], "only boxes are to be compared"
    for name, items in (("the ground truth has annotations", annotations), ("there are results", results)):
        if items and not any(item.get("segmentation") for item in items):
            return ["bbox"], f"{name} without masks"
    return ["bbox", "segm"], ""


def _with_masks(truth: dict[str, Any], results: list[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what masks are compared of.

    Results without a mask are left out. An object without one becomes a crowd region, its box: it cannot be found, and
    what is found of it is not false.
    """
    sizes = image_sizes(truth)
    annotations = []
    for item in truth["annotations"]:
        height, width = sizes[item["image_id"]]
        if item.get("segmentation"):
            annotations.append(item)
        elif height is not None and width is not None:
            region = mask_utils.frPyObjects(np.array([item["bbox"]], np.float64), height, width)[0]
            rle = {"size": [height, width], "counts": region["counts"].decode("ascii")}
            annotations.append({**item, "iscrowd": 1, "segmentation": rle})
    return {**truth, "annotations": annotations}, [item for item in results if item.get("segmentation")]


def _notes(
    annotations: list[dict[str, Any]], results: list[dict[str, Any]], kinds: list[Kind], reason: str
) -> tuple[str, ...]:
    """Say what the masks are not compared of."""
    if "segm" not in kinds:
        return (f"Masks are not compared: {reason}.",)
    objects = sum(not item.get("segmentation") and not item.get("iscrowd") for item in annotations)
    without = sum(not item.get("segmentation") for item in results)
    notes = []
    if objects:
        notes.append(f"{objects} objects have no mask; where masks are compared, they count as crowd regions.")
    if without:
        notes.append(f"{without} results have no mask and count only where boxes are compared.")
    return tuple(notes)


def _add(metrics: dict[str, float], found: Mapping[str, Any], evaluator: str) -> None:
    """Add what an evaluator returned to the metrics of a kind; refuse what is no number or would replace another."""
    if not isinstance(found, Mapping):
        raise UnsegError(f"The evaluator {evaluator} returns {found!r} instead of a dictionary of metrics by name.")
    for name, value in found.items():
        if name in metrics:
            raise UnsegError(
                f"The evaluator {evaluator} and one before it both return a metric named {name}; leave one of them out "
                "of TEST.EVALUATORS, or rename the metric."
            )
        try:
            metrics[name] = float(value)
        except (TypeError, ValueError):
            metrics[name] = math.inf
        if math.isinf(metrics[name]):
            raise UnsegError(
                f"The evaluator {evaluator} returns {name} = {value!r}, which is no number; a metric that is undefined "
                "is NaN."
            )


def check_annotations(annotations: Sequence[Any], name: object) -> None:
    """Raise `UnsegError` where a data set, called ``name`` in the message, has no annotations to compare with."""
    if not annotations:
        raise UnsegError(f"{name} has no annotations, so there is nothing to compare with.")


def _counts(truth: dict[str, Any]) -> dict[str, int]:
    annotations = truth["annotations"]
    objects = [annotation["image_id"] for annotation in annotations if not annotation.get("iscrowd", 0)]
    return {
        "images": len(truth["images"]),
        "images_without_objects": len(truth["images"]) - len(set(objects)),
        "objects": len(objects),
        "crowds": len(annotations) - len(objects),
        "without_mask": sum(not annotation.get("segmentation") for annotation in annotations),
    }
