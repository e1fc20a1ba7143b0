"""A comparison as text, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from unseg_d2.compare.result import NOT_STATED, benchmark_title, protocol_title
from unseg_d2.compare.table import Column, Comparison, Row
from unseg_d2.evaluation.table import as_markdown
from unseg_d2.published.figures import CERTAINTIES
from unseg_d2.supervision import MEANINGS

SECOND_HAND = "~"
"""Mark of a figure that was read in a summary of its source."""
OWN = ">"
"""Mark of systems that were measured, not published."""


def as_text(table: Comparison) -> str:
    """Return the table for a terminal: groups apart, metrics to the right, what marks mean below."""
    legend = _Legend(table)
    titles = ["#", "system", "network", *_column_titles(table), "setting", "protocol", "supervision", "source"]
    blocks = [[_cells(row, table, legend) for row in group] for group in table.groups()]
    widths = [
        max(len(row[i]) for row in [titles, *(row for block in blocks for row in block)]) for i in range(len(titles))
    ]
    right = {0, *range(3, 3 + len(table.columns))}

    def line(cells: Sequence[str]) -> str:
        padded = (cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(cells, widths)))
        return "  ".join(padded).rstrip()

    body = "\n\n".join("\n".join(line(row) for row in block) for block in blocks)
    return "\n\n".join([f"{_heading(table)}\n\n{line(titles)}\n{body}", "\n".join(legend.lines())])


def as_page(table: Comparison) -> str:
    """Return the table in Markdown, a table per group, as a page of documentation has it."""
    legend = _Legend(table)
    titles = ["#", "system", "network", *_column_titles(table), "supervision", "source"]
    parts = [f"{_heading(table)}."]
    for group in table.groups():
        about = [group[0].setting, protocol_title(group[0].protocol)]
        parts.append(f"**{', '.join(part for part in about if part)}**")
        cells = [_cells(row, table, legend) for row in group]
        parts.append(as_markdown([titles, *([*row[: 3 + len(table.columns)], *row[-2:]] for row in cells)]))
    parts.append("\n".join(f"- {text}" for text in legend.lines()))
    return "\n\n".join(parts).replace(" ~", " \\~")


def as_csv(table: Comparison) -> str:
    """Return the table for a spreadsheet: everything in full, missing figures empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    deltas = [f"{column.title} - {table.baseline}" for column in table.columns] if table.baseline else []
    about = ["setting", "protocol", "supervision", "certainty", "source", "notes"]
    writer.writerow(["rank", "system", "network", *(column.title for column in table.columns), *deltas, *about])
    for row in table.rows:
        figures = [_rounded(row.figures.get(column)) for column in table.columns]
        differences = [_rounded(row.deltas.get(column)) for column in table.columns] if table.baseline else []
        sure = " ".join(dict.fromkeys(row.certainty.values()))
        learnt = " ".join(row.supervision) or NOT_STATED
        about = [row.setting, row.protocol, learnt, sure, "; ".join(row.sources), "; ".join(row.notes)]
        writer.writerow([row.rank or "", row.name, row.network, *figures, *differences, *about])
    return file.getvalue().rstrip("\n")


def as_json(table: Comparison) -> str:
    """Return everything as JSON; missing figures have no entry."""
    rows = [
        {
            "rank": row.rank,
            "system": row.name,
            "key": row.key,
            "network": row.network,
            "setting": row.setting,
            "protocol": row.protocol,
            "supervision": list(row.supervision),
            "figures": [_figure(row, column) for column in table.columns if column in row.figures],
            "sources": row.sources,
            "notes": row.notes,
        }
        for row in table.rows
    ]
    protocols = {row.protocol: protocol_title(row.protocol) for row in table.rows}
    content = {"baseline": table.baseline or None, "protocols": protocols, "rows": rows}
    return json.dumps(content, indent=1, ensure_ascii=False)


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": as_text,
    "markdown": as_page,
    "csv": as_csv,
    "json": as_json,
}
"""Name of each form, and the function that returns it."""
SUFFIXES = {".txt": "text", ".md": "markdown", ".csv": "csv", ".json": "json"}


class _Legend:
    """What the marks of a table mean: letters are notes, numbers are sources, in the order in which they occur."""

    def __init__(self, table: Comparison) -> None:
        self.table = table
        self.sources: list[str] = list(dict.fromkeys(source for row in table.rows for source in row.sources))
        self.notes: list[str] = list(dict.fromkeys(note for row in table.rows for note in row.notes))

    def marks(self, row: Row) -> str:
        """Return the letters of a row's notes, in brackets."""
        letters = ", ".join(_letter(index) for index, note in enumerate(self.notes) if note in row.notes)
        return f" [{letters}]" if letters else ""

    def lines(self) -> list[str]:
        """Return everything that stands below the table."""
        rows, found = self.table.rows, {sure for row in self.table.rows for sure in row.certainty.values()}
        lines = [
            f"Ranked by {self.table.sort.title}, within one setting and protocol; "
            "a blank is a figure that was not reported."
        ]
        if self.table.baseline:
            lines.append(
                f"In parentheses: the difference from {self.table.baseline}, in the same setting and protocol."
            )
        if "digest" in found:
            lines.append(f"{SECOND_HAND} {CERTAINTIES['digest']}")
        if any(row.measured for row in rows):
            lines.append(f"{OWN} measured here, not published")
        if any(row.measured and (row.setting == NOT_STATED or not row.supervision) for row in rows):
            lines.append(f"{NOT_STATED}: of own figures, --setting and --own-supervision state it")
        protocols = dict.fromkeys(row.protocol for row in rows)
        lines += [f"protocol {key}: {protocol_title(key)}" for key in protocols]
        words = {word for row in rows for word in row.supervision}
        lines += [f"supervision {word}: {meaning}" for word, meaning in MEANINGS.items() if word in words]
        lines += [f"[{_letter(index)}] {note}" for index, note in enumerate(self.notes)]
        return lines + [f"source {index}: {source}" for index, source in enumerate(self.sources, 1)]


def _cells(row: Row, table: Comparison, legend: _Legend) -> list[str]:
    name = f"{OWN} {row.name}" if row.measured else row.name
    numbers = " ".join(str(legend.sources.index(source) + 1) for source in row.sources)
    figures = [_cell(row, column) for column in table.columns]
    learnt = ", ".join(row.supervision) or NOT_STATED
    rank = "" if row.rank is None else str(row.rank)
    return [rank, f"{name}{legend.marks(row)}", row.network, *figures, row.setting, row.protocol, learnt, numbers]


def _cell(row: Row, column: Column) -> str:
    """Return a figure with its mark and difference; blank where there is none."""
    if column not in row.figures:
        return ""
    text = f"{row.figures[column]:.1f}"
    if column in row.deltas:
        text += f" ({row.deltas[column]:+.1f})"
    return f"{SECOND_HAND}{text}" if row.certainty[column] == "digest" else text


def _heading(table: Comparison) -> str:
    """Say what all columns share: a benchmark, a metric, or both."""
    benchmarks = {column.benchmark for column in table.columns}
    measures = {column.measure for column in table.columns}
    parts = [benchmark_title(next(iter(benchmarks)))] if len(benchmarks) == 1 else []
    parts += [next(iter(measures))] if len(measures) == 1 else []
    return ", ".join([*parts, "in percent"])


def _column_titles(table: Comparison) -> list[str]:
    """Return the titles without what the heading says."""
    columns = table.columns
    if len(columns) == 1:
        return [columns[0].measure]
    if len({column.benchmark for column in columns}) == 1:
        return [column.measure for column in columns]
    if len({column.measure for column in columns}) == 1:
        return [benchmark_title(column.benchmark) for column in columns]
    return [column.title for column in columns]


def _figure(row: Row, column: Column) -> dict[str, Any]:
    figure: dict[str, Any] = {"benchmark": column.benchmark, "kind": column.kind, "metric": column.metric}
    figure |= {"value": row.figures[column], "certainty": row.certainty[column]}
    return figure | ({"delta": _rounded(row.deltas[column])} if column in row.deltas else {})


def _rounded(value: float | None) -> float | str:
    """Return a number without the noise of floating point, and nothing for nothing."""
    return "" if value is None else round(value, 4)


def _letter(index: int) -> str:
    """Return ``a`` to ``z``, then ``aa`` and so on."""
    rest, place = divmod(index, 26)
    return (_letter(rest - 1) if rest else "") + chr(ord("a") + place)
