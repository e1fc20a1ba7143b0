"""Best matches in both directions, CorLoc and foregrounds on a grid, compared with figures worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.parity.foreground import match_foregrounds, on_grid
from unseg_d2.parity.match import corloc, match
from unseg_d2.parity.outputs import Outputs, as_boxes
from unseg_d2.parity.report import Report
from unseg_d2.rle import encode_mask


def rle(left: int, top: int, right: int, bottom: int, size: tuple[int, int] = (20, 30)) -> dict[str, Any]:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return encode_mask(mask)


def boxes(**found: list[list[float]]) -> Outputs:
    return Outputs("boxes", {name: np.array(items, float).reshape(-1, 4) for name, items in found.items()})


def test_masks_are_matched_both_ways() -> None:
    """One of two published masks is found exactly, the other by half; a third of ours is alone."""
    published = Outputs("masks", {"a": [rle(0, 0, 10, 10), rle(20, 0, 30, 10)], "b": [rle(0, 0, 5, 5)], "c": []})
    ours = Outputs(
        "masks", {"a": [rle(20, 0, 25, 10), rle(0, 0, 10, 10), rle(0, 15, 5, 20)], "b": [], "x": [rle(0, 0, 1, 1)]}
    )
    first, second = match(published, ours)
    assert (first.name, first.published.tolist(), first.ours.tolist()) == ("a", [1, 0.5], [0.5, 1, 0])
    assert first.mean == pytest.approx(3 / 5) and not first.identical
    assert (second.published.tolist(), second.ours.size, second.mean) == ([0], 0, 0)
    report = Report([("published", "file")], "masks", [first, second], missing=1)
    summary = report.to_json()["agreement"]
    assert summary["published"] == pytest.approx(
        {"count": 3, "mean IoU": 50, "IoU >= 0.5": 200 / 3, "IoU >= 0.75": 100 / 3, "IoU >= 0.9": 100 / 3}
        | {"identical": 100 / 3}
    )
    assert summary["ours"]["count"] == 3 and summary["ours"]["mean IoU"] == pytest.approx(50)
    text = report.as_text()
    assert "2 images compared: 0 identical, 1 in which ours has no masks. 1 images of the published" in text
    assert "mean IoU of the image: b (0.0), a (60.0)" in text


def test_an_image_is_identical_only_if_ours_has_nothing_more() -> None:
    published = Outputs("masks", {"a": [rle(0, 0, 9, 9)], "b": [rle(0, 0, 9, 9)], "c": []})
    ours = Outputs("masks", {"a": [rle(0, 0, 9, 9)], "b": [rle(0, 0, 9, 9), rle(10, 0, 20, 9)], "c": []})
    assert [item.identical for item in match(published, ours)] == [True, False, True]


def test_boxes_of_masks_and_their_overlap() -> None:
    found = as_boxes(Outputs("masks", {"a": [rle(2, 3, 12, 8)], "b": []}))
    assert found.found["a"].tolist() == [[2, 3, 12, 8]] and found.found["b"].shape == (0, 4)
    (item,) = match(boxes(a=[[2, 3, 12, 13]]), found)[:1]
    assert item.published.tolist() == [0.5]


def test_what_cannot_be_compared() -> None:
    masks = Outputs("masks", {"a": [rle(0, 0, 5, 5)]})
    with pytest.raises(UnsegError, match="has boxes and ours masks"):
        match(boxes(a=[[0, 0, 5, 5]]), masks)
    with pytest.raises(UnsegError, match="No image is in both: the published file begins with a, ours with b"):
        match(masks, Outputs("masks", {"b": [rle(0, 0, 5, 5)]}))
    with pytest.raises(UnsegError, match="a: masks have sizes 20x30 and 30x20; are these the same images"):
        match(masks, Outputs("masks", {"a": [rle(0, 0, 5, 5, (30, 20))]}))


def test_corloc_counts_images_with_objects() -> None:
    """Found, missed, found by the second object, no object at all: 2 of 3."""
    outputs = boxes(a=[[0, 0, 10, 10]], b=[[0, 0, 10, 4]], c=[[5, 5, 9, 9]], d=[[0, 0, 1, 1]], e=[[0, 0, 1, 1]])
    truth = {
        "a": np.array([[0, 0, 10, 20.0]]),
        "b": np.array([[0, 0, 10, 10.0]]),
        "c": np.array([[0, 0, 1, 1], [5, 5, 9, 9.0]]),
        "d": np.zeros((0, 4)),
    }
    value, count = corloc(outputs, truth)
    assert (value, count) == (pytest.approx(200 / 3), 3)
    with pytest.raises(UnsegError, match="no object in any of these images"):
        corloc(outputs, {})


def test_a_grid_beyond_the_edge_is_of_a_padded_image() -> None:
    """40 x 24 px in patches of 16: the last row of patches is half outside, and half is not most of a patch."""
    mask = np.zeros((40, 24), bool)
    mask[:16, :16] = True
    mask[32:, :16] = True
    assert on_grid(mask, (3, 2)).tolist() == [[True, False], [False, False], [False, False]]
    assert on_grid(mask, (5, 3)).tolist() == [[True, True, False]] * 2 + [[False] * 3] * 2 + [[True, True, False]]


def test_any_other_grid_is_of_a_scaled_image() -> None:
    mask = np.zeros((10, 30), bool)
    mask[:, :15] = True
    assert on_grid(mask, (4, 4)).tolist() == [[True, True, False, False]] * 4


def test_foregrounds() -> None:
    published = {"a": np.array([[True, True], [False, False]]), "b": np.zeros((2, 2), bool), "c": np.ones((2, 2), bool)}
    left = np.zeros((8, 8), bool)
    left[:, :4] = True
    found = match_foregrounds(published, {"a": left, "b": np.zeros((8, 8), bool), "x": left})
    assert [(item.name, item.published.tolist()) for item in found] == [("a", [pytest.approx(1 / 3)]), ("b", [1])]
