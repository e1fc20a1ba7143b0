from __future__ import annotations

from typing import Any

import pytest
from pycocotools import mask as mask_utils

from unseg_d2.evaluation.records import evaluate_on_records


def record(image_id: int, **annotation: Any) -> dict[str, Any]:
    return {"image_id": image_id, "height": 40, "width": 50, "annotations": [{"bbox": [0, 0, 20, 10], **annotation}]}


def test_one_of_two_objects_is_found_without_false_ones() -> None:
    results = [{"image_id": 1, "bbox": [0, 0, 20, 10], "score": 0.9}]
    figures = evaluate_on_records([record(1), record(2)], results)
    assert figures.keys() == {"bbox"}  # no masks to compare with
    assert figures["bbox"]["AR100"] == pytest.approx(50)
    assert figures["bbox"]["AP"] == pytest.approx(100 * 51 / 101)  # precision 1 up to recall 0.5


def test_masks_where_all_have_one() -> None:
    (rle,) = mask_utils.frPyObjects([[0, 0, 20, 0, 20, 10, 0, 10]], 40, 50)
    square = {"segmentation": {**rle, "counts": rle["counts"].decode()}}
    results = [{"image_id": 1, "bbox": [0, 0, 20, 10], "segmentation": square["segmentation"], "score": 0.9}]
    assert evaluate_on_records([record(1, **square)], results)["segm"]["AP"] == pytest.approx(100)
    assert evaluate_on_records([record(1, **square)], results, with_masks=False).keys() == {"bbox"}
