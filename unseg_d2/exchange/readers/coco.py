"""Corrections in a COCO file: from FiftyOne, CVAT, Roboflow, or any other tool that exports COCO."""

from __future__ import annotations

from pathlib import Path

from unseg_d2.data.coco import read_coco
from unseg_d2.exchange.returned import Returned, Shape
from unseg_d2.exchange.source import by_image


def read_coco_corrections(path: Path) -> list[Returned]:
    """Read a COCO file; crowd regions are no corrections.

    Raises:
        UnsegError: it is damaged.
    """
    dataset = read_coco(path)
    names = {category["id"]: str(category["name"]) for category in dataset.categories}
    returned = []
    for image, items in by_image(dataset):
        size = (image["height"], image["width"]) if image.get("height") else None
        shapes = [
            Shape(names.get(item["category_id"]), item["bbox"], item.get("segmentation"))
            for item in items
            if not item["iscrowd"]
        ]
        returned.append(Returned((image["file_name"],), size, shapes, True if image.get("done") else None))
    return returned
