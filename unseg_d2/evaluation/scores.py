"""Score results against ground truth: one way from COCO dictionaries to metrics, table rows and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.backends import select_backend
from unseg_d2.evaluation.best_iou import best_ious
from unseg_d2.evaluation.class_agnostic import evaluate
from unseg_d2.evaluation.table import KINDS, as_cell

Metrics = dict[str, dict[str, float]]
"""Percent by name per kind of overlap: ``{"bbox": {"AP": 12.5, ...}, "segm": {...}}``; NaN where undefined."""


@dataclass(frozen=True)
class Scores:
    """How well results match a ground truth, all classes taken as one.

    Attributes:
        metrics: per kind of overlap those of `unseg_d2.evaluation.class_agnostic.METRICS` in percent and, if requested,
            ``BestIoU``: the mean over objects of the IoU with the best result, whatever its score.
        counts: ``images``, ``images_without_objects``, ``objects``, ``crowds``, ``without_mask`` (annotations),
            ``results`` and ``ignored_images``, those of the results that the ground truth does not have.
        backend: the library that did the matching.
        result_images: images that the results are of.
    """

    metrics: Metrics
    counts: dict[str, int]
    backend: str
    result_images: int

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
    *,
    with_masks: bool = True,
    backend: str = "auto",
    max_detections: int = 100,
    best_iou: bool = False,
    result_images: int | None = None,
    ignored_images: int = 0,
) -> Scores:
    """Compare results with ground truth, class-agnostically.

    Args:
        truth: COCO dictionary with ``images`` and ``annotations``.
        results: COCO results with the image ids of the truth, see `unseg_d2.evaluation.class_agnostic.evaluate`.
        with_masks: compare masks as well as boxes, where every annotation and every result has one.
        backend: see `unseg_d2.evaluation.backends.select_backend`.
        max_detections: results per image that count, best first; 100 or more.
        best_iou: compute ``BestIoU`` too.
        result_images: images that the results are of, where some are known to have none; counted by default.
        ignored_images: images whose results were left out before, for the counts.

    Raises:
        UnsegError: a result is of an unknown image, a setting is out of range, or the backend is not installed.
    """
    content, found, backend = dict(truth), list(results), select_backend(backend)
    kinds = ["bbox"]
    if with_masks and _have_masks(content["annotations"]) and _have_masks(found):
        kinds.append("segm")
    metrics = evaluate(content, found, kinds, backend, max_detections)
    for kind in kinds if best_iou else ():
        best = best_ious(content, found, kind)
        metrics[kind]["BestIoU"] = 100 * float(best.mean()) if best.size else float("nan")
    counts = _counts(content) | {"results": len(found), "ignored_images": ignored_images}
    if result_images is None:
        result_images = len({result["image_id"] for result in found})
    return Scores(metrics, counts, backend, result_images)


def check_annotations(annotations: Sequence[Any], name: object) -> None:
    """Raise `UnsegError` where a data set, called ``name`` in the message, has no annotations to compare with."""
    if not annotations:
        raise UnsegError(f"{name} has no annotations, so there is nothing to compare with.")


def _have_masks(items: list[dict[str, Any]]) -> bool:
    return all(item.get("segmentation") for item in items)


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
