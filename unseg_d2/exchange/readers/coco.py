"""Corrections in a COCO file: from CVAT, Roboflow, or any other tool that exports COCO."""

from __future__ import annotations

from pathlib import Path

from unseg_d2.data.annotations.read import CATEGORY
from unseg_d2.data.coco import read_coco
from unseg_d2.exchange.returned import Returned, Shape
from unseg_d2.exchange.source import by_image


def read_coco_corrections(path: Path) -> list[Returned]:
    """Read a COCO file; crowd regions are regions to ignore.

    Raises:
        UnsegError: it is damaged.
    """
    dataset = read_coco(path)
    has_classes = dataset.categories != [CATEGORY]
    names = {category["id"]: str(category["name"]) for category in dataset.categories if has_classes}
    returned = []
    for image, items in by_image(dataset):
        size = (image["height"], image["width"]) if image.get("height") else None
        shapes: list[Shape] = []
        regions: list[Shape] = []
        for item in items:
            shape = Shape(names.get(item["category_id"]), item["bbox"], item.get("segmentation"))
            (regions if item["iscrowd"] else shapes).append(shape)
        done = True if image.get("done") else None
        returned.append(Returned((image["file_name"],), size, shapes, done, regions))
    return returned
