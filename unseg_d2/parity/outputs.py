"""What a method found in a set of images, whoever ran it: boxes, masks, or one foreground each.

Shape legend
    H, W   height and width of an image in pixels
    n      boxes or masks of an image
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.data.annotations.masks import draw_polygons
from unseg_d2.data.coco import CocoDataset, read_coco
from unseg_d2.data.results import read_result_list
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.label_set import read_label_set


@dataclass(frozen=True)
class Outputs:
    """Boxes or masks by image.

    Attributes:
        kind: ``boxes`` or ``masks``.
        found: name of an image, without folder and suffix, to ``(n, 4)`` float64 ``x1, y1, x2, y2`` in px, or to a list
            of n COCO RLEs.
    """

    kind: str
    found: Mapping[str, Any]

    @property
    def count(self) -> int:
        """Number of boxes or masks."""
        return sum(len(items) for items in self.found.values())


def read_labels(path: Path, images: Iterable[str] = ()) -> Outputs:
    """Read masks of one's own.

    Args:
        path: label set (COCO file or folder), or COCO results, whose image ids are the names of the images.
        images: names to look for among those of COCO results.

    Raises:
        UnsegError: the file is missing or damaged, or has results without masks.
    """
    results = read_result_list(path)
    if results is not None:
        return masks_by_image(results, path, images)
    labels = read_label_set(path)
    names = {image["id"]: image_name(image["file_name"]) for image in labels.images}
    found: dict[str, list[Any]] = {name: [] for name in names.values()}
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in labels.images}
    for annotation in draw_polygons(labels.annotations, sizes, path):
        if "segmentation" not in annotation:
            raise UnsegError(f"{path} has boxes without a mask, so there is nothing to compare them with.")
        found[names[annotation["image_id"]]].append(annotation["segmentation"])
    return Outputs("masks", found)


def masks_by_image(results: Iterable[Mapping[str, Any]], path: Path, images: Iterable[str] = ()) -> Outputs:
    """Return the masks of COCO results; an image is called as COCO calls its files, or as one of ``images``.

    Raises:
        UnsegError: a result has no RLE mask.

    >>> rle = {"size": [1, 1], "counts": "01"}
    >>> list(masks_by_image([{"image_id": 2592, "segmentation": rle}], Path("a.json")).found)
    ['000000002592']
    """
    numbers = {int(name): name for name in images if name.isdigit()}
    found: dict[str, list[Any]] = {}
    for result in results:
        if not isinstance(result.get("segmentation"), dict):
            raise UnsegError(f"{path} has results without a mask (RLE), so there is nothing to compare.")
        number = result["image_id"]
        name = numbers.get(number, f"{number:012d}") if isinstance(number, int) else image_name(str(number))
        found.setdefault(name, []).append(result["segmentation"])
    return Outputs("masks", found)


def as_boxes(outputs: Outputs) -> Outputs:
    """Return the box around each mask; boxes as they are."""
    if outputs.kind == "boxes":
        return outputs
    found = {}
    for name, masks in outputs.found.items():
        boxes = np.array([mask_utils.toBbox(mask) for mask in masks], dtype=float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found[name] = boxes
    return Outputs("boxes", found)


def truth_boxes(path: Path) -> dict[str, np.ndarray]:
    """Return the boxes ``(g, 4)`` of the objects of a COCO file by image, crowds left out.

    Raises:
        UnsegError: the file is missing or damaged.
    """
    dataset: CocoDataset = read_coco(path)
    names = {image["id"]: image_name(image["file_name"]) for image in dataset.images}
    found: dict[str, list[list[float]]] = {name: [] for name in names.values()}
    for annotation in dataset.annotations:
        if not annotation.get("iscrowd"):
            x, y, width, height = annotation["bbox"]
            found[names[annotation["image_id"]]].append([x, y, x + width, y + height])
    return {name: np.array(boxes, dtype=float).reshape(-1, 4) for name, boxes in found.items()}


def image_name(file_name: str) -> str:
    """Return the name of an image without its folder and suffix.

    >>> image_name("VOC2007/JPEGImages/000005.jpg")
    '000005'
    """
    return PurePosixPath(file_name).stem
