"""Tables of metrics, for the terminal and in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from unseg_d2.evaluation.class_agnostic import METRICS as CLASS_AGNOSTIC
from unseg_d2.files import atomic_write

METRICS = ("AP50", "AP", "AR100")
"""Those of class-agnostic AP and AR that a narrow table shows."""
OF_A_CLASS = "AP-"
"""Beginning of the name of the AP of a class; those have a table of their own, :func:`class_rows`."""
KINDS = {"bbox": "box", "segm": "mask"}
Metrics = Mapping[str, Mapping[str, float]]
Table = tuple[str, Sequence[Sequence[str]]]
"""Heading and rows of cells, the titles first."""


def lay_out(tables: Sequence[Table], notes: Sequence[str] = (), *, markdown: bool = False) -> str:
    """Return tables, each below its heading, and notes below them all."""
    layout = as_markdown if markdown else as_text
    parts = [part for heading, rows in tables for part in (heading, layout(rows)) if part]
    if notes:
        parts.append("\n".join(f"- {note}" if markdown else note for note in notes))
    return "\n\n".join(parts)


def write_tables(folder: Path, tables: Sequence[Table], notes: Sequence[str] = ()) -> None:
    """Write tables as they are printed to ``table.txt``, and in Markdown to ``table.md``."""
    for name, markdown in (("table.txt", False), ("table.md", True)):
        with atomic_write(folder / name) as file:
            file.write(f"{lay_out(tables, notes, markdown=markdown)}\n".encode())


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Align the columns.

    >>> print(as_text([["data set", "AP"], ["a", "9.1"]]))
    data set   AP
    a         9.1
    """
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    numeric = [_is_numeric(row[index] for row in rows[1:]) for index in range(len(widths))]
    lines = []
    for row in rows:
        cells = [cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Write the table in Markdown.

    >>> print(as_markdown([["data set", "AP"], ["a", "9.1"]]))
    | data set | AP |
    |---|---|
    | a | 9.1 |
    """
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def as_cell(value: float | None, digits: int = 1) -> str:
    """Write a number, or a dash for None and NaN."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def columns_of(measured: Iterable[Metrics], known: Mapping[str, str]) -> dict[str, str]:
    """Return the metrics that a table shows, to their titles: the known ones that were measured, then others.

    Args:
        measured: metrics by name per kind of overlap, of each row.
        known: metrics in their order, to their titles; of class-agnostic AP and AR no others are shown,
            and none of a single class.

    >>> columns_of([{"bbox": {"Blobs": 1.0, "AP75": 2.0, "AP": 3.0}}], {"AP": "AP", "AR1": "AR@1"})
    {'AP': 'AP', 'Blobs': 'Blobs'}
    """
    names = dict.fromkeys(name for kinds in measured for values in kinds.values() for name in values)
    others = {name: name for name in names if name not in known and name not in CLASS_AGNOSTIC}
    others = {name: name for name in others if not re.fullmatch(rf"AR\d+|{OF_A_CLASS}.*", name)}
    return {name: title for name, title in known.items() if name in names} | others


def rounds_table(rows: Sequence[tuple[str, Metrics]]) -> str:
    """Lay out metrics with one row per stage.

    Args:
        rows: name and metrics in percent, ``{"bbox": {"AP50": ...}, "segm": {...}}``; a missing kind prints as dashes.
            Of class-agnostic AP and AR those of :data:`METRICS` are shown, and all metrics of other evaluators.

    Returns:
        The table, without a newline at its end.

    >>> print(rounds_table([("round 0", {"bbox": {"AP50": 50.0, "AP": 25.0, "AR100": 40.04}})]))
             box AP50  box AP  box AR100  mask AP50  mask AP  mask AR100
    round 0      50.0    25.0       40.0          -        -           -
    >>> print(rounds_table([("round 0", {"bbox": {"CorLoc": 50.0}})]))
             box CorLoc
    round 0        50.0
    """
    measured = [found for _, found in rows]
    shown = [name for name in METRICS if name in columns_of(measured, dict.fromkeys(METRICS, ""))]
    columns: dict[str, tuple[str, str]] = {}
    for kind, label in KINDS.items():
        others = columns_of([{kind: found[kind]} for found in measured if kind in found], {})
        columns |= {f"{label} {metric}": (kind, metric) for metric in [*shown, *others]}
    cells = [
        [name, *(as_cell(found.get(kind, {}).get(metric)) for kind, metric in columns.values())] for name, found in rows
    ]
    return as_text([["", *columns], *cells])


def class_rows(metrics: Metrics) -> list[list[str]]:
    """Return the rows of a table with the AP of each class that is told apart, the titles first; none without classes.

    Args:
        metrics: by name per kind of overlap; the AP of a class is that of `unseg_d2.evaluation.per_class`.

    >>> class_rows({"bbox": {"AP": 15.0, "AP-cat": 10.0, "AP-dog": 20.0}})
    [['class', 'box AP'], ['cat', '10.0'], ['dog', '20.0']]
    >>> class_rows({"bbox": {"AP": 15.0}})
    []
    """
    names = dict.fromkeys(key for found in metrics.values() for key in found if key.startswith(OF_A_CLASS))
    rows = [[key.removeprefix(OF_A_CLASS), *(as_cell(of.get(key)) for of in metrics.values())] for key in names]
    return [["class", *(f"{KINDS[kind]} AP" for kind in metrics)], *rows] if rows else []


def _is_numeric(cells: Iterable[str]) -> bool:
    return all(cell == "-" or cell.replace(".", "", 1).isdigit() for cell in cells)
