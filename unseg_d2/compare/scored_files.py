"""Figures of files with results: COCO results or a label set of any system, scored as everything here is scored."""

from __future__ import annotations

from pathlib import Path

from fvcore.common.config import CfgNode

from unseg_d2.compare.own_runs import About, detections
from unseg_d2.compare.result import Result, coco_protocol
from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.evaluation.registry import build_evaluators
from unseg_d2.training.score_masks import score_file


def scored_results(path: Path, truth: AnnotationIndex, dataset: str, about: About, cfg: CfgNode) -> list[Result]:
    """Score a file.

    Args:
        path: COCO results, or a label set, whose images are matched by name.
        truth: what it is compared with.
        dataset: built-in name or file of the truth.
        about: what the user says of the system; by default it has the file's name.
        cfg: its ``TEST`` says how it is scored.

    Raises:
        UnsegError: the file is missing or damaged, or of other images.
    """
    scores = score_file(path, truth, dataset, build_evaluators(cfg), with_masks=not cfg.TEST.NO_SEGM)
    protocol = coco_protocol(cfg.TEST.CLASS_AGNOSTIC.MAX_DETECTIONS, scores.with_classes)
    return detections(scores.metrics, about, about.name or path.stem, dataset, path, protocol)
