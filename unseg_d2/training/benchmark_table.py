"""Measured and published metrics in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unseg_d2.data.spec import split_spec
from unseg_d2.evaluation.table import KINDS, as_cell, columns_of
from unseg_d2.published.figures import PublishedRow, published_rows
from unseg_d2.training.benchmarks import Benchmark

COLUMNS = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "AR1": "AR1", "AR10": "AR10", "AR100": "AR100"}
LAST = {"Recall50": "R@.5", "BestIoU": "best IoU"}
PROTOCOLS = ("coco", "promerge")
"""Of the published rows: those that were measured as `unseg_d2.evaluation.class_agnostic` measures."""


def benchmark_rows(
    benchmarks: Sequence[Benchmark], name: str, learnt: Sequence[str] = (), *, published: bool = True
) -> list[list[str]]:
    """Return the cells of the table, the titles first.

    Args:
        benchmarks: of all data sets, in the order of the rows.
        name: of the method that was measured.
        learnt: what it has learnt from, words of `unseg_d2.supervision`; empty where it is not known.
        published: list the published metrics of each data set below the measured ones.
    """
    compared = {item.dataset for item in benchmarks if published and not item.scores.with_classes}
    beside = {item.dataset: published_rows(item.dataset) if item.dataset in compared else [] for item in benchmarks}
    columns = columns_of(
        [item.scores.metrics for item in benchmarks],
        COLUMNS | {key: key for key in _extra_recalls(benchmarks)} | LAST,
    )
    if any(beside.values()):  # the published metrics have their columns even where only others were measured
        columns = COLUMNS | columns
    rows = [["data set", "method", "setting", "kind", *columns.values(), "supervision", "source"]]
    for item in benchmarks:
        for cells in item.scores.rows(columns):
            rows.append([_short(item.dataset), name, item.setting, *cells, ", ".join(learnt), "measured"])
        for row in beside[item.dataset]:
            if row.protocol.key in PROTOCOLS and (row.kind in item.scores.metrics or not row.kind):
                rows.append(_published(row, list(columns)))
    return rows


def protocol_lines(benchmarks: Sequence[Benchmark]) -> list[str]:
    """Say what was compared with what: a line of each evaluator, then one of each data set."""
    lines = list(dict.fromkeys(text for item in benchmarks for text in item.scores.protocols))
    for item in benchmarks:
        n = item.scores.counts
        text = f"{item.dataset}: {n['images']} images ({n['images_without_objects']} without objects), "
        text += f"{n['objects']} objects, {n['crowds']} crowd regions, {n['results']} results. {item.protocol}"
        if n["without_mask"]:
            with_masks = "segm" in item.scores.metrics
            told = "which count as crowd regions beside masks" if with_masks else "so only boxes are compared"
            text += f" {n['without_mask']} annotations have no mask, {told}."
        ignored = n["ignored_images"]
        lines.append(text + (f" {ignored} images without ground truth were ignored." if ignored else ""))
    return lines


def _short(dataset: str) -> str:
    """Return the end of a path, which the protocol shows in full, or a built-in name as it is."""
    return "/".join(Path(split_spec(dataset)[0]).parts[-2:])


def _published(row: PublishedRow, columns: list[str]) -> list[str]:
    cells = [as_cell(row.figures.get(key)) for key in columns]
    method, setting = f"{row.name}, {row.system.network}", row.setting or "not stated"
    learnt = ", ".join(row.system.supervision)
    return [row.benchmark.dataset, method, setting, KINDS.get(row.kind, "?"), *cells, learnt, row.citation]


def _extra_recalls(benchmarks: Sequence[Benchmark]) -> list[str]:
    """Recalls of more than 100 results, where they were asked for."""
    names = {key for item in benchmarks for values in item.scores.metrics.values() for key in values}
    limits = [int(key[2:]) for key in names if key.startswith("AR") and key[2:].isdigit()]
    return [f"AR{limit}" for limit in sorted(limits) if limit > 100]
