"""Evaluate a detector, or a set of masks, on a data set with ground truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.classes import check_same, read_classes
from unseg_d2.data.presence import check_images
from unseg_d2.data.records import as_records
from unseg_d2.data.results import ResultsIndex
from unseg_d2.detectors.protocol import Engine
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.chunks import Chunk, chunks_of_images
from unseg_d2.evaluation.records import ground_truth
from unseg_d2.evaluation.registry import build_evaluators, classes_told_apart, detector_evaluators
from unseg_d2.evaluation.scores import Metrics, Scores, check_annotations, score_stream
from unseg_d2.evaluation.tally import missing_masks
from unseg_d2.jobs.places import LOCAL
from unseg_d2.training.prediction import predict_to_file


def score_records(
    records: Sequence[dict[str, Any]], results: ResultsIndex | Iterable[dict[str, Any]], cfg: CfgNode, name: str
) -> Scores:
    """Compare results with the annotations of a data set; of a file of results, some images are held at a time.

    Args:
        records: the data set.
        results: COCO results.
        cfg: ``TEST.EVALUATORS`` names the metrics, ``TEST.NO_SEGM`` leaves the masks out.
        name: name of the data set, for the message.

    Raises:
        UnsegError: no record has annotations, a result is of no record, or an evaluator cannot be used on them.
    """
    check_annotations(int(any(record.get("annotations") for record in records)), name)
    keys, of_image = _by_image(results)
    known = {image["image_id"] for image in as_records(records).images()}
    for key in keys:
        if key not in known:
            raise UnsegError(f"There is a result of image {key}, which {name} does not have.")
    objects = (item for record in records for item in record.get("annotations", ()))
    return score_stream(
        _chunks(records, of_image),
        build_evaluators(cfg),
        with_masks=not cfg.TEST.NO_SEGM,
        masks_missing=None if cfg.TEST.NO_SEGM else missing_masks(objects) or None,
    )


def _by_image(
    results: ResultsIndex | Iterable[dict[str, Any]],
) -> tuple[Iterable[Any], Callable[[Any], list[dict[str, Any]]]]:
    """Return the ids of the images of results, and what returns those of an image."""
    if isinstance(results, ResultsIndex):
        return results.image_ids, results.of_image
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[result["image_id"]].append(result)
    return list(groups), lambda key: groups.get(key, [])


def _chunks(records: Sequence[dict[str, Any]], of_image: Callable[[Any], list[dict[str, Any]]]) -> Iterator[Chunk]:
    categories = as_records(records).categories
    truths = (ground_truth([record], categories) for record in records)
    parts = ((truth["images"][0], truth["annotations"], of_image(truth["images"][0]["id"])) for truth in truths)
    return chunks_of_images(parts, {"categories": list(categories)} if categories else {})


def evaluate_detector(
    engine: Engine,
    cfg: CfgNode,
    *,
    weights: str,
    dataset: str,
    output: Path,
    num_processes: int = 1,
    run_on: str = LOCAL,
) -> Scores:
    """Predict over a data set and score the predictions.

    Args:
        engine: the engine that runs the network.
        cfg: recipe of the network.
        weights: checkpoint.
        dataset: built-in name or COCO json of the data set.
        output: folder of the predictions.
        num_processes: processes that share the prediction.
        run_on: see `predict_to_file`.

    Raises:
        UnsegError: the data set has other classes than those that the detector was trained on, or cannot be used.
    """
    detector_evaluators(cfg)  # before anything is predicted
    records = load_dataset(dataset, cfg, classes_told_apart(cfg))
    check_images(records, dataset)
    learnt = read_classes(weights) if records.found else []
    if learnt:
        check_same(learnt, records.found, (f"the training of {weights}", dataset))
    options: dict[str, Any] = {"num_processes": num_processes, "run_on": run_on}
    predictions = predict_to_file(engine, cfg, records, weights=weights, output=output, **options)
    return score_records(records, ResultsIndex(predictions), cfg, dataset)


def check_test_sets(cfg: CfgNode, num_classes: int = 1) -> None:
    """Check that every set in ``DATASETS.TEST`` can be evaluated on, before any work.

    Args:
        cfg: recipe.
        num_classes: of the detector; with several, the sets must have as many categories, see `load_dataset`.

    Raises:
        UnsegError: annotations or images are missing, or the categories are others.
    """
    for name in cfg.DATASETS.TEST:
        check_images(load_dataset(name, cfg, num_classes), name)


def check_expected(metrics: Metrics, expected: list[list[Any]]) -> None:
    """Compare metrics with ``TEST.EXPECTED_RESULTS``.

    Args:
        metrics: what was measured.
        expected: rows ``[kind, metric, value, tolerance]``.

    Raises:
        UnsegError: a metric lies outside its tolerance, or was not measured.

    >>> check_expected({"bbox": {"AP": 10.0}}, [["bbox", "AP", 10.5, 1.0]])
    """
    for kind, metric, *_ in expected:
        if metric not in metrics.get(kind, {}):
            known = ", ".join(f"{kind}/{name}" for kind, of in metrics.items() for name in of)
            raise UnsegError(f"TEST.EXPECTED_RESULTS names {kind}/{metric}, which was not measured; there are {known}.")
    wrong = [
        f"{kind}/{metric} is {metrics[kind][metric]:.2f}, expected {value} +- {tolerance}"
        for kind, metric, value, tolerance in expected
        if not abs(metrics[kind][metric] - value) <= tolerance
    ]
    if wrong:
        raise UnsegError("Results differ from TEST.EXPECTED_RESULTS: " + "; ".join(wrong) + ".")
