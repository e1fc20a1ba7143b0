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
