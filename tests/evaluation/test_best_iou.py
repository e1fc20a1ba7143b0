"""The best mask of each object."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.evaluation.best_iou import best_ious


def rle(mask: np.ndarray) -> dict:
    return mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))


def test_each_object_takes_the_best_mask_of_its_own_image() -> None:
    left, top, all_ = np.zeros((3, 4, 8), bool)
    left[:, :4] = top[:2] = all_[:] = True
    images = [{"id": key, "height": 4, "width": 8} for key in ("a", "b")]
    polygon = [[0.0, 0, 4, 0, 4, 4, 0, 4]]  # left half
    annotations = [
        {"image_id": "a", "segmentation": polygon, "iscrowd": 0},
        {"image_id": "a", "segmentation": rle(top), "iscrowd": 0},
        {"image_id": "a", "segmentation": rle(all_), "iscrowd": 1},
        {"image_id": "b", "segmentation": rle(left), "iscrowd": 0},
    ]
    results = [{"image_id": "a", "segmentation": rle(mask), "score": 0.1} for mask in (all_, left)]
    best = best_ious({"images": images, "annotations": annotations}, results)
    assert best.tolist() == [1.0, 0.5, 0.0]


def test_no_objects() -> None:
    assert best_ious({"images": [], "annotations": []}, []).shape == (0,)


def test_boxes() -> None:
    """10x10 against 10x5 in it, and against the box of a mask."""
    mask = np.zeros((20, 20), bool)
    mask[:10, :10] = True
    truth = {
        "images": [{"id": 1, "height": 20, "width": 20}],
        "annotations": [{"image_id": 1, "bbox": [0, 0, 10, 10]}, {"image_id": 1, "bbox": [0, 0, 10, 20]}],
    }
    best = best_ious(truth, [{"image_id": 1, "bbox": [0, 0, 10, 5]}], "bbox")
    assert best.tolist() == [0.5, 0.25]
    assert best_ious(truth, [{"image_id": 1, "segmentation": rle(mask)}], "bbox").tolist() == [1.0, 0.5]
