"""Figures of files with results: COCO results or a label set of any system, scored as everything here is scored."""

from __future__ import annotations

from pathlib import Path

from unseg_d2.compare.own_runs import About, detections
from unseg_d2.compare.result import Result
from unseg_d2.data.coco import CocoDataset
from unseg_d2.training.score_masks import score_file


def scored_results(
    path: Path, truth: CocoDataset, dataset: str, about: About, *, backend: str = "auto", max_detections: int = 100
) -> list[Result]:
    """Score a file.

    Args:
        path: COCO results, or a label set, whose images are matched by name.
        truth: what it is compared with.
        dataset: built-in name or file of the truth.
        about: what the user says of the system; by default it has the file's name.
        backend: see `unseg_d2.evaluation.backends.select_backend`.
        max_detections: results per image that count.

    Raises:
        UnsegError: the file is missing or damaged, or of other images.
    """
    scores = score_file(path, truth, dataset, backend=backend, max_detections=max_detections)
    return detections(scores.metrics, about, about.name or path.stem, dataset, path, max_detections)
