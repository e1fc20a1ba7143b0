"""What a self-training run shows at its end: a gallery of its last masks and a plot of its metrics."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.data.coco import CocoDataset, check_coco
from unseg_d2.data.records import Records
from unseg_d2.evaluation.scores import Metrics
from unseg_d2.evaluation.table import METRICS, columns_of
from unseg_d2.files import atomic_write
from unseg_d2.viz.curves import Lines, plot_curves
from unseg_d2.viz.gallery import write_gallery
from unseg_d2.viz.labels import LabelView, evenly_spaced
from unseg_d2.viz.plots import plot_rounds

CURVES = "curves.svg"
"""Loss and metrics over the iterations, beside a run's or a training's checkpoints."""

GALLERY_LIMIT = 500  # images, evenly spaced over the set
MIN_SCORE = 0.3  # detections with a lower one would hide the others


def shown_images(records: Records) -> Records:
    """Return the images that the page shows, evenly spaced over a data set; no others are read for it."""
    return records.chosen(np.array(evenly_spaced(range(len(records)), GALLERY_LIMIT), dtype=np.int64))


def write_run_gallery(
    page: Path,
    records: Sequence[dict[str, Any]],
    results: Sequence[dict[str, Any]],
    title: str,
    rows: Sequence[tuple[str, Metrics]] = (),
    *,
    beside: str = "ground truth",
    trainings: Sequence[tuple[str, Lines]] = (),
) -> Path:
    """Write what a detector found as a page that opens from disk, beside the annotations of the records.

    Args:
        page: html file to write.
        records: the images, as Detectron2's standard dataset dicts.
        results: detections on them, with ``image_id``, ``bbox``, ``segmentation`` and ``score``; those with a score
            below :data:`MIN_SCORE` are not shown, and the title says how many they are.
        title: of the detections.
        rows: name and metrics in percent of each stage, plotted on the page.
        beside: title of the annotations.
        trainings: title and reports of each training, whose curves are drawn.

    Returns:
        ``page``.
    """
    root = Path(os.path.commonpath([Path(record["file_name"]).parent for record in records]))
    images = [
        {
            "id": record["image_id"],
            "file_name": Path(record["file_name"]).relative_to(root).as_posix(),
            "height": record["height"],
            "width": record["width"],
        }
        for record in records
    ]
    shown = [result for result in results if result.get("score", 1.0) >= MIN_SCORE]
    if hidden := len(results) - len(shown):
        title += f", scores from {MIN_SCORE} on ({hidden} lower ones are not shown)"
    annotations = [{**item, "image_id": record["image_id"]} for record in records for item in record["annotations"]]
    compare = LabelView(beside, _dataset(images, annotations)) if annotations else None
    view = LabelView(title, _dataset(images, shown))
    write_gallery(page, view, root, compare=compare, metrics=_metrics(rows), trainings=trainings)
    return page


def write_plot(path: Path, rows: Sequence[tuple[str, Metrics]]) -> Path | None:
    """Plot the metrics of the rounds as an SVG picture.

    Args:
        path: svg file to write.
        rows: name and metrics in percent of each stage.

    Returns:
        ``path``; ``None`` where no metric is defined, and nothing is written.
    """
    drawn = _metrics(rows)
    if not drawn:
        return None
    with atomic_write(path) as file:
        file.write(plot_rounds(drawn).encode())
    return path


def write_curves(path: Path, trainings: Sequence[tuple[str, Lines]]) -> Path | None:
    """Draw loss and metrics of trainings over their iterations as a picture; ``None`` where nothing was reported."""
    drawn = plot_curves(trainings)
    if not drawn:
        return None
    with atomic_write(path) as file:
        file.write(drawn.encode())
    return path


def _metrics(rows: Sequence[tuple[str, Metrics]]) -> list[dict[str, Any]]:
    """Return the metrics that the table of the rounds shows; none where all of them are undefined."""
    names = columns_of([metrics for _, metrics in rows], dict.fromkeys(METRICS, ""))
    drawn = [
        {"name": name, **{kind: {key: of[key] for key in names if key in of} for kind, of in metrics.items()}}
        for name, metrics in rows
    ]
    values = [value for _, metrics in rows for of in metrics.values() for key, value in of.items() if key in names]
    return drawn if any(map(math.isfinite, values)) else []


def _dataset(images: list[dict[str, Any]], annotations: Sequence[dict[str, Any]]) -> CocoDataset:
    numbered = [{**annotation, "id": number, "category_id": 1} for number, annotation in enumerate(annotations, 1)]
    return check_coco({"images": images, "annotations": numbered, "categories": [{"id": 1, "name": "object"}]})
