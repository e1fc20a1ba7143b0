"""The curves of trainings: heights by hand, and names that do not cover each other."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import pytest

from unseg_d2.viz.curves import plot_curves, thinned

SVG = "{http://www.w3.org/2000/svg}"


def training(*losses: float, **metrics: float) -> list[dict[str, float]]:
    lines = [{"iteration": 20 * k + 19, "total_loss": loss} for k, loss in enumerate(losses)]
    lines[-1] |= {name.replace("_", "/"): value for name, value in metrics.items()}
    return lines


def polylines(svg: str) -> list[list[tuple[float, float]]]:
    return [
        [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        for line in ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    ]


def texts(svg: str) -> dict[str, tuple[float, float]]:
    found = ElementTree.fromstring(svg).iter(f"{SVG}text")
    return {str(text.text): (float(text.attrib["x"]), float(text.attrib["y"])) for text in found}


def test_points_lie_where_iteration_and_loss_say() -> None:
    """The axes end at 40 iterations and a loss of 4; a panel is 300 x 170 px."""
    (points,) = polylines(plot_curves([("round 0", training(4.0, 1.0))]))
    assert points == [(56 + 150, 44), (56 + 300, 44 + 127.5)]


def test_trainings_share_a_scale_and_metrics_are_a_row_of_their_own() -> None:
    svg = plot_curves([("round 0", training(8.0, 4.0)), ("round 1", training(4.0, 2.0, segm_AP=10.0, bbox_AP=50.0))])
    first, second, metric = polylines(svg)
    assert first[1][1] == second[0][1] and second[0][0] > first[1][0]
    assert len(metric) == 1 and metric[0][1] > 44 + 170
    shown = texts(svg)
    assert {"round 0: loss", "round 1: loss", "round 1: metrics", "loss 4", "loss 2", "AP 10"} <= shown.keys()


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0), (50.0, 50.1, 50.2), (1.0, 99.0, 99.5)])
def test_names_at_the_ends_of_curves_do_not_overlap(values: tuple[float, ...]) -> None:
    metrics = dict(zip(("segm_AP", "segm_AP50", "segm_AR100"), values))
    shown = texts(plot_curves([("round 0", training(1.0, **metrics))]))
    heights = sorted(y for name, (_, y) in shown.items() if name.startswith(("AP", "AR")))
    assert len(heights) == 3 and all(low - high >= 13.9 for high, low in itertools.pairwise(heights))


def test_names_end_before_the_next_panel_and_the_picture() -> None:
    """A character is at most 7.5 px wide, and the numbers left of a panel take 40 px."""
    metrics = {"segm_AR100": 51.25}
    svg = plot_curves([(f"round {k}", training(1.0, 0.693, **metrics)) for k in range(3)])
    width = float(ElementTree.fromstring(svg).attrib["width"])
    lefts = [56 + column * (300 + 136) for column in range(1, 3)]
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        if text.get("class") == "name":
            start = float(text.attrib["x"])
            following = min([left - 40 for left in lefts if left > start], default=width)
            assert start + 7.5 * len(str(text.text)) <= following


def test_marks_below_a_panel_do_not_overlap() -> None:
    lines = [{"iteration": 159_999, "total_loss": 1.0}]
    places = sorted(x for name, (x, _) in texts(plot_curves([("round 0", lines)])).items() if name.endswith("k"))
    assert all(right - left >= 40 for left, right in itertools.pairwise(places))


def test_what_is_not_finite_is_left_out_and_nothing_gives_no_picture() -> None:
    (points,) = polylines(plot_curves([("a", training(1.0, math.nan, 1.0))]))
    assert len(points) == 2
    assert plot_curves([]) == "" and plot_curves([("a", [{"iteration": 0, "lr": 1.0}])]) == ""
    assert "<b>" not in plot_curves([("<b>", training(1.0))])


def test_a_long_training_is_thinned_to_medians() -> None:
    points = [(float(k), float(k % 3)) for k in range(9000)]
    few = thinned(points, 600)
    assert len(few) == 600 and all(y == 1.0 for _, y in few)
