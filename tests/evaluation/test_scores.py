"""Records and COCO dictionaries to scores, and scores to rows and JSON, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.best_iou import BestIoU
from unseg_d2.evaluation.records import ground_truth
from unseg_d2.evaluation.scores import Scores, check_annotations, score
from unseg_d2.rle import encode_mask


def record(image_id: int, **annotation: Any) -> dict[str, Any]:
    return {"image_id": image_id, "height": 40, "width": 50, "annotations": [{"bbox": [0, 0, 20, 10], **annotation}]}


def test_one_of_two_objects_is_found_without_false_ones() -> None:
    results = [{"image_id": 1, "bbox": [0, 0, 20, 10], "score": 0.9}]
    figures = score(ground_truth([record(1), record(2)]), results).metrics
    assert figures.keys() == {"bbox"}  # no masks to compare with
    assert figures["bbox"]["AR100"] == pytest.approx(50)
    assert figures["bbox"]["AP"] == pytest.approx(100 * 51 / 101)  # precision 1 up to recall 0.5


def test_masks_where_all_have_one() -> None:
    (rle,) = mask_utils.frPyObjects([[0, 0, 20, 0, 20, 10, 0, 10]], 40, 50)
    square = {"segmentation": {**rle, "counts": rle["counts"].decode()}}
    results = [{"image_id": 1, "bbox": [0, 0, 20, 10], "segmentation": square["segmentation"], "score": 0.9}]
    assert score(ground_truth([record(1, **square)]), results).metrics["segm"]["AP"] == pytest.approx(100)
    assert score(ground_truth([record(1, **square)]), results, with_masks=False).metrics.keys() == {"bbox"}


def test_masks_are_compared_where_both_sides_have_them() -> None:
    (rle,) = mask_utils.frPyObjects([[0, 0, 20, 0, 20, 10, 0, 10]], 40, 50)
    truth = ground_truth([record(1, segmentation={**rle, "counts": rle["counts"].decode()})])
    scores = score(truth, [{"image_id": 1, "bbox": [0, 0, 20, 10], "score": 0.9}])
    assert scores.metrics.keys() == {"bbox"} and scores.metrics["bbox"]["AP"] == pytest.approx(100)


def test_counts_and_best_iou() -> None:
    """An object that half a box covers, one that nothing does, a crowd, and an image without objects."""
    records = [record(1), record(2), {**record(3), "annotations": []}]
    records[1]["annotations"].append({"bbox": [20, 20, 9, 9], "iscrowd": 1})
    results = [{"image_id": 1, "bbox": [0, 0, 10, 10], "score": 0.9}, {"image_id": 1, "bbox": [0, 0, 1, 1]}]
    evaluators = {"best_iou": BestIoU()}
    scores = score(ground_truth(records), results, evaluators, ignored_images=4)
    assert scores.metrics["bbox"]["BestIoU"] == pytest.approx(25)
    assert scores.counts == {"images": 3, "images_without_objects": 1, "objects": 2, "crowds": 1} | {
        "without_mask": 3,
        "results": 2,
        "ignored_images": 4,
    }
    assert scores.result_images == 1
    assert score(ground_truth(records), results, result_images=2).result_images == 2


def test_rows_and_json() -> None:
    metrics = {"bbox": {"AP": 12.346, "APl": float("nan")}, "segm": {"AP": 1.0, "APl": 2.0}}
    scores = Scores(metrics, {"images": 1}, "pycocotools", 1)
    assert scores.rows(["APl", "AP"], digits=2) == [["box", "-", "12.35"], ["mask", "2.00", "1.00"]]
    assert scores.to_json() == {
        "figures": {"bbox": {"AP": 12.346, "APl": None}, "segm": {"AP": 1.0, "APl": 2.0}},
        "counts": {"images": 1},
    }


def test_a_data_set_without_annotations_is_named() -> None:
    with pytest.raises(UnsegError, match="photos has no annotations"):
        check_annotations([], "photos")


def masks_and_boxes() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Two objects, each found exactly; the second has a box only."""
    masks = np.zeros((2, 20, 40), bool)
    masks[0, 2:12, 2:12] = masks[1, 2:12, 22:32] = True
    boxes = [[2, 2, 10, 10], [22, 2, 10, 10]]
    objects = [{"image_id": 1, "bbox": box, "area": 100, "iscrowd": 0} for box in boxes]
    objects[0]["segmentation"] = encode_mask(masks[0])
    results = [
        {"image_id": 1, "bbox": box, "segmentation": encode_mask(mask), "score": 0.9} for box, mask in zip(boxes, masks)
    ]
    return {"images": [{"id": 1, "height": 20, "width": 40}], "annotations": objects}, results


def test_one_object_without_a_mask_does_not_hide_the_masks() -> None:
    truth, results = masks_and_boxes()
    scores = score(truth, results)
    assert scores.metrics["bbox"]["AP"] == pytest.approx(100) and scores.metrics["segm"]["AP"] == pytest.approx(100)
    assert scores.notes == ("1 objects have no mask; where masks are compared, they count as crowd regions.",)
    del results[1]["segmentation"]
    scores = score(truth, results)
    assert scores.metrics["segm"]["AP"] == pytest.approx(100)
    assert scores.notes[1] == "1 results have no mask and count only where boxes are compared."


def test_boxes_without_any_mask_say_so() -> None:
    truth, results = masks_and_boxes()
    for result in results:
        del result["segmentation"]
    scores = score(truth, results)
    assert set(scores.metrics) == {"bbox"}
    assert scores.notes == ("Masks are not compared: there are results without masks.",)
    assert score(truth, results, with_masks=False).notes == ()
