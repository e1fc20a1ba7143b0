"""Overlaps of each image against pairs worked out one by one."""

from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.evaluation.overlaps import overlaps, xywh
from unseg_d2.rle import encode_mask


def rectangle(image_id, left: int, top: int, right: int, bottom: int, **more) -> dict:
    mask = np.zeros((20, 30), bool)
    mask[top:bottom, left:right] = True
    box = [left, top, right - left, bottom - top]
    return {"image_id": image_id, "bbox": box, "segmentation": encode_mask(mask), "mask": mask} | more


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_pairs_of_each_image(kind):
    images = [{"id": key, "height": 20, "width": 30} for key in ("b", "a", "none")]
    objects = [rectangle("a", 0, 0, 10, 10), rectangle("b", 5, 5, 25, 15), rectangle("a", 0, 0, 30, 20, iscrowd=1)]
    objects.append(rectangle("a", 8, 8, 12, 20))
    results = [rectangle("a", 0, 0, 10, 5), rectangle("b", 6, 5, 30, 20), rectangle("a", 9, 0, 30, 20)]
    found = list(overlaps({"images": images, "annotations": objects}, results, kind))
    assert [image.objects for image in found] == [[1], [0, 3], []]
    assert [len(image.results) for image in found] == [1, 2, 0] and found[2].ious.shape == (0, 0)
    for image in found:
        for row, result in enumerate(image.results):
            for column, position in enumerate(image.objects):
                both, any_ = result["mask"] & objects[position]["mask"], result["mask"] | objects[position]["mask"]
                assert image.ious[row, column] == pytest.approx(both.sum() / any_.sum())


def test_a_missing_box_is_that_of_the_mask():
    item = rectangle(1, 3, 4, 9, 12)
    assert xywh(item) == xywh({"segmentation": item["segmentation"]}) == [3, 4, 6, 8]
