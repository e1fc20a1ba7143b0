from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from unseg_d2.viz.plots import axis, plot_rounds

SVG = "{http://www.w3.org/2000/svg}"


def metrics(*values: float | None) -> list[dict]:
    return [
        {"name": f"round {k}", "segm": {"AP": value, "AP50": 20.0, "AR100": 40.0}} for k, value in enumerate(values)
    ]


def curves(svg: str, metric: str) -> list[list[tuple[float, float]]]:
    """Points of every polyline of one metric."""
    root = ElementTree.fromstring(svg)
    return [
        [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        for group in root.iter(f"{SVG}g")
        if group.get("class") == metric
        for line in group.iter(f"{SVG}polyline")
    ]


def test_heights_are_proportional_to_the_metrics():
    (ap,) = curves(plot_rounds(metrics(0.0, 10.0, 20.0)), "AP")
    (ap50,) = curves(plot_rounds(metrics(0.0, 10.0, 20.0)), "AP50")
    zero, ten, twenty = (y for _, y in ap)
    assert zero - ten == pytest.approx(ten - twenty, abs=0.11)
    assert twenty == ap50[0][1]
    assert ap[0][0] < ap[1][0] < ap[2][0]


@pytest.mark.parametrize("gap", [None, math.nan])
def test_a_missing_figure_leaves_a_gap(gap):
    runs = curves(plot_rounds(metrics(1.0, gap, 2.0, 3.0)), "AP")
    assert [len(run) for run in runs] == [1, 2]


def test_a_panel_per_kind_of_figure_that_is_there():
    both = [{"name": "pseudo-masks", "bbox": {"AP": 4.0}, "segm": {"AP": 3.0}}, {"name": "round 0", "segm": {"AP": 5}}]
    titles = [text.text for text in ElementTree.fromstring(plot_rounds(both)).iter(f"{SVG}text")]
    assert "Boxes" in titles and "Masks" in titles
    assert "Boxes" not in plot_rounds(both[1:])


def test_names_are_escaped():
    svg = plot_rounds([{"name": "<script>&", "segm": {"AP": 1.0}}])
    assert "<script>" not in svg
    assert "<script>&" in [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_names_at_the_end_of_equal_lines_do_not_overlap():
    svg = plot_rounds([{"name": "round 0", "segm": {"AP": 0.0, "AP50": 0.0, "AR100": 0.0}}])
    heights = sorted(
        float(text.attrib["y"])
        for text in ElementTree.fromstring(svg).iter(f"{SVG}text")
        if text.get("class") == "name"
    )
    assert heights[1] - heights[0] >= 14 and heights[2] - heights[1] >= 14


@pytest.mark.parametrize("empty", [[], [{"name": "round 0"}], [{"name": "round 0", "segm": {"AP": None}}]])
def test_nothing_to_draw_is_an_error(empty):
    with pytest.raises(ValueError, match="no bbox or segm metric"):
        plot_rounds(empty)


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (0.0, (1.0, 1.0)),
        (1.0, (0.2, 1.0)),
        (5.0, (1.0, 5.0)),
        (23.4, (5.0, 25.0)),
        (61.0, (20.0, 80.0)),
        (100, (20, 100)),
    ],
)
def test_axis(highest, expected):
    assert axis(highest) == pytest.approx(expected)
