"""The registry of published figures."""

from __future__ import annotations

import pytest

from unseg_d2.data.builtin import BUILTIN
from unseg_d2.evaluation.class_agnostic import METRICS
from unseg_d2.evaluation.published import published_rows


def test_every_row_is_of_a_known_data_set_and_says_where_it_stands() -> None:
    for row in published_rows():
        assert row.dataset in BUILTIN
        assert row.figures and set(row.figures) <= set(METRICS)
        assert all(0 < value < 100 for value in row.figures.values())
        assert row.kind in ("bbox", "segm") or row.note
        assert row.setting in ("zero-shot", "in-domain")
        assert row.source and row.supervision and row.detector


def test_no_row_occurs_twice() -> None:
    keys = [(row.method, row.detector, row.dataset, row.kind, row.setting, row.source) for row in published_rows()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("dataset", ["cls_agnostic_coco", "cls_agnostic_coco20k"])
def test_two_sources_agree_on_cutler(dataset: str) -> None:
    rows = [row for row in published_rows(dataset) if row.method == "CutLER" and row.kind == "bbox"]
    cascade = {row.figures["AP50"] for row in rows if row.detector.startswith("Cascade")}
    assert len(cascade) == 1
