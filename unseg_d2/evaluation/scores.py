"""Score results against ground truth: one way from COCO dictionaries to metrics, table rows and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.chunks import Chunk, chunks_of
from unseg_d2.evaluation.class_agnostic import ClassAgnostic, ClassAgnosticSettings
from unseg_d2.evaluation.registry import Evaluator, Kind, check_kinds, kinds_of
from unseg_d2.evaluation.streams import accumulator_of
from unseg_d2.evaluation.table import KINDS, as_cell
from unseg_d2.evaluation.tally import Tally, missing_masks, with_masks

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
    """Compare results with ground truth that are in memory.

    Args:
        truth: COCO dictionary with ``images`` and ``annotations``.
        results: COCO results with the image ids of the truth, see `unseg_d2.evaluation.registry.Evaluator`.
        evaluators: see :func:`score_stream`, as are the others.
        with_masks: compare masks as well as boxes, where annotations and results have any.
        result_images: images that the results are of, where some are known to have none; counted by default.
        ignored_images: images whose results were left out before, for the counts.

    Raises:
        UnsegError: see :func:`score_stream`.
    """
    found = list(results)
    return score_stream(
        chunks_of(truth, found),
        evaluators,
        with_masks=with_masks,
        masks_missing=missing_masks(truth["annotations"], found),
        result_images=result_images,
        ignored_images=ignored_images,
    )


def score_stream(
    chunks: Iterable[Chunk],
    evaluators: Mapping[str, Evaluator] | None = None,
    *,
    with_masks: bool = True,
    masks_missing: str | None = None,
    result_images: int | None = None,
    ignored_images: int = 0,
) -> Scores:
    """Compare results with ground truth by each evaluator; every score of detections and label sets is computed here.

    Args:
        chunks: some images of a COCO dictionary with their annotations, and the results of these images, at a time. No
            image comes twice. Among equal scores the order counts: that of the images, and of the results of an image.
        evaluators: by name, see `unseg_d2.evaluation.registry.build_evaluators`; by default class-agnostic AP and AR.
        with_masks: compare masks as well as boxes, where annotations and results have any.
        masks_missing: what :func:`~unseg_d2.evaluation.tally.missing_masks` says of everything, if it is known before;
            else masks are compared until the end shows that there were none, which takes time and changes nothing.
        result_images: images that the results are of, where some are known to have none; counted by default.
        ignored_images: images whose results were left out before, for the counts.

    Raises:
        UnsegError: an image comes twice, a result is of an unknown image, an evaluator compares masks where there are
            none, or two evaluators give a metric the same name.
        ValueError: ``masks_missing`` is not what the chunks show.
    """
    chosen = evaluators or {"class_agnostic": ClassAgnostic(ClassAgnosticSettings())}
    reason = masks_missing if with_masks else "only boxes are to be compared"
    tally, running = Tally(), _Running(chosen, ["bbox"] if reason else ["bbox", "segm"], reason)
    for truth, results in chunks:
        tally.add(truth, results)
        running.update(truth, results, masks_are_certain=masks_missing == "" or tally.masks_on_both_sides)
    if masks_missing is not None and masks_missing != tally.missing_masks:
        raise ValueError(f"masks_missing was '{masks_missing}', but it is '{tally.missing_masks}'")
    if with_masks and tally.missing_masks:
        reason = tally.missing_masks
        running.leave_out_masks(reason)
    metrics = running.compute()
    protocols = tuple(text for evaluator in chosen.values() if (text := getattr(evaluator, "protocol", "")))
    backend = next((one.backend for one in chosen.values() if hasattr(one, "backend")), "")
    apart = any(getattr(one, "with_classes", False) for one in chosen.values())
    notes: tuple[str, ...] = ()
    if with_masks:
        notes = (f"Masks are not compared: {reason}.",) if reason else tally.notes()
    images = tally.counts["result_images"] if result_images is None else result_images
    return Scores(metrics, tally.to_counts(ignored_images), backend, images, protocols, notes, apart)


class _Running:
    """The accumulators of evaluators, per kind of overlap.

    Args:
        evaluators: by name.
        kinds: what is compared.
        reason: why masks are not, if so.
    """

    def __init__(self, evaluators: Mapping[str, Evaluator], kinds: Sequence[Kind], reason: str | None) -> None:
        self.evaluators = evaluators
        check_kinds(evaluators, kinds, reason or "")
        self.kinds = {
            kind: {name: accumulator_of(one, kind) for name, one in evaluators.items() if kind in kinds_of(one)}
            for kind in kinds
        }
        self.refused: UnsegError | None = None

    def update(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]], *, masks_are_certain: bool) -> None:
        """Take some images in.

        What is wrong with masks counts once it is certain that masks are compared.
        """
        for accumulator in self.kinds["bbox"].values():
            accumulator.update(truth, results)
        if "segm" not in self.kinds:
            return
        try:
            if not self.refused:
                content = with_masks(truth, results)
                for accumulator in self.kinds["segm"].values():
                    accumulator.update(*content)
        except UnsegError as error:
            self.refused = error
        if self.refused and masks_are_certain:
            raise self.refused

    def leave_out_masks(self, reason: str) -> None:
        """Forget the masks, for a reason."""
        check_kinds(self.evaluators, ["bbox"], reason)
        self.kinds.pop("segm", None)
        self.refused = None

    def compute(self) -> Metrics:
        """Return the metrics; what an accumulator holds is freed after it."""
        if self.refused:
            raise self.refused
        metrics: Metrics = {kind: {} for kind in self.kinds}
        for name in self.evaluators:
            for kind, accumulators in self.kinds.items():
                if name in accumulators:
                    _add(metrics[kind], accumulators.pop(name).compute(), name)
        return {kind: of for kind, of in metrics.items() if of}


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


def check_annotations(annotations: Sequence[Any] | int, name: object) -> None:
    """Raise `UnsegError` where a data set, called ``name`` in messages, has no annotations, or 0, to compare with."""
    if not annotations:
        raise UnsegError(f"{name} has no annotations, so there is nothing to compare with.")
