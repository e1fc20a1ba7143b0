from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.levels import shown_at
from unseg_d2.rle import encode_mask
from unseg_d2.viz.decisions import masks_key
from unseg_d2.viz.entries import best_overlaps, make_entry, ordered


def annotation(rows: slice, columns: slice, **more) -> dict:
    mask = np.zeros((60, 80), bool)
    mask[rows, columns] = True
    box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
    return {"segmentation": encode_mask(mask), "area": float(mask.sum()), "bbox": box, **more}


LEFT = annotation(slice(0, 60), slice(0, 40))
TOP = annotation(slice(0, 30), slice(0, 80))
BOX = {"bbox": [0, 0, 8, 6], "area": 48.0}


def test_order_is_by_score_then_area_and_bad_scores_count_as_none():
    low, high = {"area": 9, "score": 0.2}, {"area": 1, "score": 0.9}
    text, nan, large = {"area": 2, "score": "1"}, {"area": 3, "score": float("nan")}, {"area": 4}
    assert ordered([low, text, nan, high, large]) == [high, low, large, nan, text]


def test_best_overlap_by_hand():
    # LEFT and TOP share a quarter of the image and cover three quarters together.
    assert best_overlaps([LEFT, TOP, BOX], [TOP], 60, 80) == [pytest.approx(1 / 3, abs=1e-3), 1.0, None]


def test_overlap_without_anything_to_compare():
    assert best_overlaps([LEFT], [], 60, 80) == [0.0]
    assert best_overlaps([LEFT], [{**LEFT, "iscrowd": 1}, BOX], 60, 80) == [0.0]
    assert best_overlaps([], [LEFT], 60, 80) == []


def test_entry_of_two_sets():
    image = np.zeros((60, 80, 3), np.uint8)
    first = [{**TOP, "score": 0.25, "id": 7}, {**LEFT, "score": 0.75, "id": "b"}]
    entry = make_entry("a.jpg", image, [first, [TOP, BOX]], side=64, quality=75)
    assert (entry.index["name"], entry.index["width"], entry.index["height"]) == ("a.jpg", 80, 60)
    assert entry.index["sets"] == [
        [[0.75, 0.5, pytest.approx(1 / 3, abs=1e-3)], [0.25, 0.5, 1.0]],
        [[None, 0.5, None], [None, 0.01, None]],
    ]
    assert entry.index["ids"] == ["b", 7] and entry.index["key"] == masks_key(first)
    _, outlines, others = entry.picture
    assert [len(outlines), len(others)] == [2, 2]
    assert others[1] == "M0 0h51v38h-51z"


def test_each_place_is_shown_once_at_every_granularity():
    """Two parts of an object, one of them with a part of its own, which is as coarse as the other part is fine."""
    nodes = [(0, 0.1, 1), (1, 0.5, 2), (2, 1.0, None), (3, 0.3, 2)]
    items = [{"node": n, "granularity": g} | ({} if p is None else {"parent": p}) for n, g, p in nodes]
    spans = shown_at([*items, {"score": 0.5}])
    assert spans == [[0.0, 0.5], [0.5, 1.0], [1.0, 2.0], [0.0, 1.0], []]
    for detail, expected in ((0.1, {0, 3}), (0.49, {0, 3}), (0.5, {1, 3}), (0.95, {1, 3}), (1.0, {2})):
        assert {i for i, span in enumerate(spans[:4]) if span[0] <= detail < span[1]} == expected


def test_entry_of_masks_within_masks():
    first = [{**TOP, "id": 1, "node": 1, "granularity": 1.0, "level": 1}]
    first += [{**LEFT, "id": 2, "node": 0, "parent": 1, "granularity": 0.1, "level": 0, "score": 0.9}]
    entry = make_entry("a.jpg", np.zeros((60, 80, 3), np.uint8), [first], side=64, quality=75)
    assert entry.index["sets"] == [[[0.9, 0.5, None, 0.0, 1.0], [None, 0.5, None, 1.0, 2.0]]]


def test_entry_with_classes():
    first = [{**TOP, "id": 1, "category_id": 7}, {**LEFT, "id": 2, "category_id": "x", "score": 0.9}]
    sets, classes = [first, [{**BOX, "category_id": 1}]], [{7: 0, "x": 1}, {}]
    entry = make_entry("a.jpg", np.zeros((60, 80, 3), np.uint8), sets, side=64, quality=75, classes=classes)
    assert entry.index["classes"] == [[1, 0], []]  # in the order of the list; the second set has one class
