"""The curves of trainings, loss and metrics over the iterations, as one SVG image without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from unseg_d2.viz.page import render
from unseg_d2.viz.plots import METRICS, apart, axis

_LEFT, _TOP, _WIDTH, _HEIGHT, _GAP, _BELOW, _RIGHT = 56, 44, 300, 170, 136, 74, 96  # px around and between the panels
_MOST_POINTS = 600  # per curve; a longer one is thinned out to the medians of its neighbours
_KINDS = ("segm", "bbox")
LOSS = "total_loss"

Lines = Sequence[Mapping[str, float]]
"""Lines of a ``metrics.json`` by ascending iteration: ``{"iteration": 19, "total_loss": 2.1}`` each."""


def plot_curves(trainings: Sequence[tuple[str, Lines]]) -> str:
    """Draw the loss of each training, and below it the metrics of its evaluations, where it has any.

    Args:
        trainings: title and lines of each. The panels of one row have one scale.

    Returns:
        An ``<svg>`` element that stands alone or inside a page, and follows the reader's light or dark setting; empty
        where nothing was reported.
    """
    drawn = [(title, lines) for title, lines in trainings if any(LOSS in line for line in lines)]
    if not drawn:
        return ""
    rows = [("loss", [_curves(lines, {LOSS: LOSS}) for _, lines in drawn])]
    metrics = [_curves(lines, _metric_names(lines)) for _, lines in drawn]
    if any(metrics):
        rows.append(("metrics", metrics))
    panels = []
    for row, (what, curves) in enumerate(rows):
        highest = max(value for of in curves for points in of.values() for _, value in points)
        step, end = axis(highest)
        for column, ((title, lines), of) in enumerate(zip(drawn, curves)):
            place = (_LEFT + column * (_WIDTH + _GAP), _TOP + row * (_HEIGHT + _BELOW))
            panels.append(_panel(f"{title}: {what}", of, lines, place, (step, end)))
    return render(
        "curves.svg.j2",
        width=_LEFT + len(drawn) * _WIDTH + (len(drawn) - 1) * _GAP + _RIGHT,
        height=_TOP + len(rows) * _HEIGHT + (len(rows) - 1) * _BELOW + 44,
        panels=panels,
    )


def _metric_names(lines: Lines) -> dict[str, str]:
    """Return the metrics to draw, of masks or else of boxes, and the short name of each."""
    found = {key for line in lines for key in line}
    for kind in _KINDS:
        names = {f"{kind}/{name}": name for name in METRICS if f"{kind}/{name}" in found}
        if names:
            return names
    return {}


def _curves(lines: Lines, names: Mapping[str, str]) -> dict[str, list[tuple[float, float]]]:
    """Return the points of each name that has any, ``(iteration, value)``; what is not finite is left out."""
    curves = {}
    for key, name in names.items():
        points = [(line["iteration"] + 1, line[key]) for line in lines if key in line and math.isfinite(line[key])]
        if points:
            curves[name] = thinned(points)
    return curves


def thinned(points: list[tuple[float, float]], most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most some points: each the middle one of its neighbours, by value.

    >>> thinned([(1, 5.0), (2, 1.0), (3, 3.0), (4, 4.0)], 2)
    [(1, 1.0), (3, 3.0)]
    """
    size = -(-len(points) // most)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[(len(group) - 1) // 2][0], sorted(y for _, y in group)[(len(group) - 1) // 2]) for group in groups]


def _panel(
    title: str,
    curves: Mapping[str, list[tuple[float, float]]],
    lines: Lines,
    place: tuple[int, int],
    scale: tuple[float, float],
) -> dict[str, Any]:
    """Lay out one panel: curves, ticks, and names at the ends of the curves that do not cover each other."""
    (left, top), (step, end) = place, scale
    last = max(line["iteration"] for line in lines) + 1
    x_step, x_end = axis(last)

    def x(iteration: float) -> float:
        return round(left + _WIDTH * iteration / x_end, 1)

    def y(value: float) -> float:
        return round(top + _HEIGHT * (1 - min(max(value, 0.0), end) / end), 1)

    places = apart([y(points[-1][1]) for points in curves.values()], top + _HEIGHT)
    return {
        "title": title,
        "left": left,
        "right": left + _WIDTH,
        "bottom": top + _HEIGHT,
        "top": top,
        "ticks": [(f"{tick * step:g}", y(tick * step)) for tick in range(round(end / step) + 1)],
        "marks": [(_thousands(tick * x_step), x(tick * x_step)) for tick in range(round(x_end / x_step) + 1)],
        "curves": [
            {
                "name": "loss" if name == LOSS else name,
                "style": "loss" if name == LOSS else name,
                "points": [(x(at), y(value)) for at, value in points],
                "dots": len(points) <= 40,
                "value": f"{points[-1][1]:.3g}",
                "end": (x(points[-1][0]), place),
            }
            for (name, points), place in zip(curves.items(), places)
        ],
    }


def _thousands(iteration: float) -> str:
    """Return a number of iterations in few characters.

    >>> [_thousands(number) for number in (80, 1500, 160000, 2000000)]
    ['80', '1.5k', '160k', '2M']
    """
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if iteration >= size:
            return f"{iteration / size:g}{unit}"
    return f"{iteration:g}"
