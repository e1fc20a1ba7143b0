"""Records become ground truth, and metrics become verdicts."""

from __future__ import annotations

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.training.evaluate import check_expected, score_records

RECORD = {
    "file_name": "a.png",
    "image_id": 7,
    "height": 10,
    "width": 20,
    "annotations": [{"bbox": [1, 2, 4, 5], "bbox_mode": 1, "category_id": 0, "area": 20, "iscrowd": 0}],
}


def test_boxes_alone_are_scored_as_boxes() -> None:
    """One object, found exactly: everything is 100."""
    result = {"image_id": 7, "category_id": 1, "bbox": [1, 2, 4, 5], "score": 0.5}
    figures = score_records([RECORD], [result], load_cfg(), "").metrics
    assert set(figures) == {"bbox"}
    assert figures["bbox"]["AP"] == pytest.approx(100)


def test_no_annotations_is_an_error() -> None:
    with pytest.raises(UnsegError, match="photos has no annotations"):
        score_records([{**RECORD, "annotations": []}], [], load_cfg(), "photos")


def test_expected_results() -> None:
    figures = {"bbox": {"AP": 10.0}}
    check_expected(figures, [["bbox", "AP", 10.4, 0.5]])
    with pytest.raises(UnsegError, match=r"bbox/AP is 10.00, expected 11.0 \+- 0.5"):
        check_expected(figures, [["bbox", "AP", 11.0, 0.5]])
    with pytest.raises(UnsegError, match="bbox/AP is nan"):
        check_expected({"bbox": {"AP": float("nan")}}, [["bbox", "AP", 11.0, 0.5]])
