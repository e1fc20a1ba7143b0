"""The label set of the next self-training round: what a detector finds, merged with the labels it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.data.catalog import load_dataset
from unseg_d2.detectors.learnt import of_weights
from unseg_d2.detectors.protocol import Engine
from unseg_d2.jobs.places import LOCAL
from unseg_d2.pseudo.merge import merge_files
from unseg_d2.training.prediction import predict_to_file


def next_label_set(
    engine: Engine,
    cfg: CfgNode,
    *,
    weights: str,
    labels: str,
    output: Path,
    round_index: int = 1,
    num_processes: int = 1,
    run_on: str = LOCAL,
) -> Path:
    """Predict on the images of a label set and merge what is found with it (CutLER, section 3.4).

    Args:
        engine: the engine that runs the network.
        cfg: recipe of the network; ``ROUNDS`` states the thresholds.
        weights: checkpoint.
        labels: label set that the detector was trained on, ``labels.json`` or ``labels.json::image/root``.
        output: folder of the result; a run that was killed resumes, finished predictions are kept.
        round_index: number of the round, from 1; later rounds keep detections of lower scores.
        num_processes: processes that share the prediction.
        run_on: see `predict_to_file`.

    Returns:
        ``output/labels.json``, the label set to train on next.

    Raises:
        UnsegError: a file is missing or damaged, or the checkpoint does not fit the recipe.
    """
    options: dict[str, Any] = {"num_processes": num_processes, "run_on": run_on}
    predictions = predict_round(engine, cfg, weights, labels, output / "predictions", **options)
    learnt = of_weights(weights, trust=cfg.MODEL.TRUST_CHECKPOINT)
    return merge_round(cfg, labels, predictions, output / "labels.json", round_index, learnt)


def predict_round(
    engine: Engine,
    cfg: CfgNode,
    weights: str,
    images: str,
    output: Path,
    *,
    num_processes: int = 1,
    run_on: str = LOCAL,
) -> Path:
    """Predict on the images of a data set, ``ROUNDS.DETECTIONS_PER_IMAGE`` each; see `predict_to_file`."""
    cfg = edited(cfg, {"TEST.DETECTIONS_PER_IMAGE": cfg.ROUNDS.DETECTIONS_PER_IMAGE})
    records = load_dataset(images, cfg)
    options: dict[str, Any] = {"num_processes": num_processes, "run_on": run_on}
    return predict_to_file(engine, cfg, records, weights=weights, output=output, **options)


def merge_round(
    cfg: CfgNode, labels: str | Path, predictions: Path, output: Path, round_index: int, learnt: Sequence[str]
) -> Path:
    """Merge predictions with a label set as round ``round_index`` of a recipe does; see `merge_files`."""
    rounds = cfg.ROUNDS
    threshold = rounds.SCORE_THRESHOLDS[min(round_index, len(rounds.SCORE_THRESHOLDS)) - 1]
    return merge_files(
        labels, predictions, output, score_threshold=threshold, match_iou=rounds.MATCH_IOU, learnt=learnt
    )
