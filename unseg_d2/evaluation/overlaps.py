"""The overlap of each result with each object of its image, which metrics of all kinds begin with.

Shape legend
    r   results of an image
    g   objects of it
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.rle import compress


class Overlaps(NamedTuple):
    """The results and objects of one image.

    Attributes:
        results: r of them, in their order.
        objects: positions of the g objects among the annotations.
        ious: ``(r, g)`` float64 in [0, 1].
    """

    results: list[dict[str, Any]]
    objects: list[int]
    ious: np.ndarray


def overlaps(truth: Mapping[str, Any], results: Iterable[dict[str, Any]], kind: str) -> Iterator[Overlaps]:
    """Yield for each image how its results and objects overlap.

    Args:
        truth: COCO dictionary with ``images`` and ``annotations``; crowd regions are no objects.
        results: ``{image_id, segmentation (RLE), bbox (XYWH, px)}`` each; only the one that is compared is needed.
        kind: ``segm`` compares masks, ``bbox`` boxes.
    """
    found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        found[result["image_id"]].append(result)
    objects: dict[Any, list[int]] = defaultdict(list)
    for position, annotation in enumerate(truth["annotations"]):
        if not annotation.get("iscrowd"):
            objects[annotation["image_id"]].append(position)
    for image in truth["images"]:
        given, wanted = found[image["id"]], objects[image["id"]]
        ious = np.zeros((len(given), len(wanted)))
        if given and wanted:
            known = [truth["annotations"][position] for position in wanted]
            regions = ([_region(item, kind, image) for item in items] for items in (given, known))
            ious = np.asarray(mask_utils.iou(*regions, [0] * len(wanted)))
        yield Overlaps(given, wanted, ious)


def _region(item: Mapping[str, Any], kind: str, image: Mapping[str, Any]) -> Any:
    """Return the box or mask of an annotation or result, as pycocotools compares it."""
    if kind == "bbox":
        return xywh(item)
    return compress(item["segmentation"], image.get("height"), image.get("width"))


def xywh(item: Mapping[str, Any]) -> list[float]:
    """Return the box of an annotation or a result, XYWH in pixels; where it has none, that of its RLE mask."""
    box = item["bbox"] if "bbox" in item else mask_utils.toBbox(item["segmentation"])
    return [float(value) for value in box]
