"""The metrics of a self-training run as one SVG image, without a plotting library."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from unseg_d2.viz.page import render

METRICS = ("AP50", "AP", "AR100")
"""Metrics with a colour of their own; all colours are in the template."""
_OTHER_COLOURS = 4

_PANELS = (("bbox", "Boxes"), ("segm", "Masks"))
_LEFT, _TOP, _HEIGHT, _BOTTOM, _GAP, _RIGHT = 44, 44, 220, 52, 46, 62  # px around and between the panels


def plot_rounds(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Draw box and mask metrics, such as AP50, AP and AR100, over the rounds of a run.

    Args:
        metrics: one entry per point, in order: ``{"name": "round 0", "bbox": {"AP": …, "AP50": …, "AR100": …},
            "segm": {…}}``, in percent. Each name becomes a line. A missing metric, ``None`` or NaN leaves a gap.

    Returns:
        An ``<svg>`` element that stands alone or inside a page, and follows the reader's light or dark setting.

    Raises:
        ValueError: if there is nothing to draw.
    """
    present = [(key, title) for key, title in _PANELS if any(entry.get(key) for entry in metrics)]
    found = dict.fromkeys(name for key, _ in present for entry in metrics for name in entry.get(key) or {})
    others = [name for name in found if name not in METRICS]
    styles = {name: name for name in METRICS if name in found}
    styles |= {name: f"other{number % _OTHER_COLOURS}" for number, name in enumerate(others)}
    values = [value for key, _ in present for name in styles for value in _series(metrics, key, name)]
    highest = max((value for value in values if value is not None), default=None)
    if highest is None:
        raise ValueError("the metrics hold no bbox or segm metric to draw")
    step, top = axis(highest)
    right = max(_RIGHT, 8 * max(map(len, styles)) + 10)  # the names stand to the right of their lines
    width = max(240, 96 * (len(metrics) - 1) + 60)
    panels = []
    for number, (key, title) in enumerate(present):
        left = _LEFT + number * (width + _GAP + right)
        xs = [left + width * (index + 0.5) / len(metrics) for index in range(len(metrics))]
        lines = [_line(_series(metrics, key, name), xs, top, name, style) for name, style in styles.items()]
        _separate_names(lines)
        _separate_values(lines)
        panels.append({"title": title, "left": left, "right": left + width, "xs": xs, "lines": lines})
    return render(
        "plot.svg.j2",
        width=_LEFT + len(present) * (width + right) + (len(present) - 1) * _GAP,
        height=_TOP + _HEIGHT + _BOTTOM,
        top=_TOP,
        bottom=_TOP + _HEIGHT,
        panels=panels,
        names=[str(entry["name"]) for entry in metrics],
        drawn=", ".join(styles),
        ticks=[(f"{tick * step:g}", _y(tick * step, top)) for tick in range(round(top / step) + 1)],
    )


def axis(highest: float) -> tuple[float, float]:
    """Return the distance of the ticks and the end of an axis from 0 that holds ``highest`` on at most six ticks.

    >>> axis(23.4)
    (5.0, 25.0)
    """
    if highest <= 0:
        return 1.0, 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    step = next(power * factor for factor in (0.2, 0.5, 1.0, 2.0) if power * factor * 5 >= highest)
    return step, step * math.ceil(highest / step - 1e-9)


def _series(metrics: Sequence[Mapping[str, Any]], key: str, metric: str) -> list[float | None]:
    """Values of one metric, ``None`` where there is no finite one."""
    values = [(entry.get(key) or {}).get(metric) for entry in metrics]
    return [None if value is None or not math.isfinite(value) else float(value) for value in values]


def _y(value: float, top: float) -> float:
    """Vertical pixel of a value; COCO's -1 for "no ground truth" sits on the axis."""
    return round(_TOP + _HEIGHT * (1 - max(value, 0.0) / top), 1)


def _line(values: list[float | None], xs: list[float], top: float, name: str, style: str) -> dict[str, Any]:
    """Points of one metric, cut into runs without gaps."""
    runs: list[list[dict[str, Any]]] = [[]]
    for x, value in zip(xs, values, strict=True):
        if value is None:
            runs.append([])
        else:
            y = _y(value, top)
            runs[-1].append({"x": round(x, 1), "y": y, "value": value, "label_y": y - 8})
    runs = [run for run in runs if run]
    return {"name": name, "style": style, "runs": runs, "label_y": runs[-1][-1]["y"] if runs else None}


def apart(places: Sequence[float], bottom: float, distance: float = 14.0) -> list[float]:
    """Move the names at the ends of lines apart where they would overlap.

    Args:
        places: vertical pixel of each.
        bottom: below which none may lie.
        distance: of two names, in pixels.

    >>> apart([40, 90, 42], 100), apart([95, 99], 100)
    ([40, 90, 54.0], [86.0, 100.0])
    """
    moved = list(places)
    order = sorted(range(len(places)), key=lambda number: places[number])
    for above, below in itertools.pairwise(order):
        moved[below] = max(moved[below], moved[above] + distance)
    overflow = max(moved, default=bottom) - bottom
    return [place - overflow for place in moved] if overflow > 0 else moved


def _separate_names(lines: list[dict[str, Any]]) -> None:
    placed = [line for line in lines if line["runs"]]
    for line, place in zip(placed, apart([line["label_y"] for line in placed], _TOP + _HEIGHT)):
        line["label_y"] = place


def _separate_values(lines: list[dict[str, Any]], distance: float = 11.0) -> None:
    """Write a value below its point where the one above it would cover it."""
    points = [point for line in lines for run in line["runs"] for point in run]
    points.sort(key=lambda point: (point["x"], point["y"]))
    for above, below in itertools.pairwise(points):
        if above["x"] == below["x"] and below["label_y"] - above["label_y"] < distance:
            below["label_y"] = below["y"] + 16
