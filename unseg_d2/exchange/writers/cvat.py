"""CVAT for images 1.1: an XML file with a mask, polygon or box per object.

A mask is written row by row within its box, as lengths of runs that begin with one outside the mask. A tag marks the
images in which every object has its mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from unseg_d2.errors import UnsegError
from unseg_d2.exchange.names import check_file_names, class_names
from unseg_d2.exchange.outlines import outlines
from unseg_d2.exchange.pictures import place
from unseg_d2.exchange.request import Request
from unseg_d2.exchange.source import by_image, objects, size_of
from unseg_d2.exchange.writers.coco import DIGITS
from unseg_d2.exchange.writers.xml import element, to_bytes, tree
from unseg_d2.files import atomic_write, write_json
from unseg_d2.rle import decode_mask

DONE = "done"
"""Label of the tag that marks an image in which every object has its mask."""


def write_cvat(request: Request) -> Path:
    """Write ``annotations.xml``, and ``labels.json`` for the label constructor of a new task.

    Returns:
        The XML file.
    """
    names = class_names(request.dataset.categories, "CVAT")
    if DONE in names.values():
        raise UnsegError(f'CVAT gets the label "{DONE}" for images that are done; rename the category of that name.')
    check_file_names(request.dataset.images, "CVAT")
    labels = [{"name": name, "type": "any", "attributes": []} for name in names.values()]
    labels.append({"name": DONE, "type": "tag", "attributes": []})
    write_json(request.output / "labels.json", labels, indent=1)
    path = request.output / "annotations.xml"
    images = sorted(by_image(request.dataset), key=lambda pair: pair[0]["file_name"])  # as CVAT numbers them
    with atomic_write(path) as file:
        file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
        file.write(to_bytes(_meta(labels, len(images))))
        for number, (image, items) in enumerate(images):
            file.write(to_bytes(_image(request, number, image, items, names)))
        file.write(b"</annotations>\n")
    if request.root is not None and request.placing != "reference":
        for image in request.dataset.images:
            place(request.root, image["file_name"], request.output / "images" / image["file_name"], request.placing)
    return path


def encode_runs(mask: np.ndarray) -> list[int]:
    """Return the lengths of runs of a mask, row by row, the first of them outside the mask.

    Args:
        mask: ``(h, w)`` bool.

    >>> encode_runs(np.array([[True, True], [False, True]]))
    [0, 2, 1, 1]
    """
    flat = np.ravel(mask)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def _meta(labels: list[dict[str, Any]], size: int) -> ElementTree.Element:
    """Return what readers other than CVAT want to know first."""
    meta = tree("meta", {"task": {"name": "unseg_d2", "size": size, "mode": "annotation"}})
    listed = ElementTree.SubElement(meta[0], "labels")
    for label in labels:
        listed.append(tree("label", {"name": label["name"], "type": label["type"], "attributes": {}}))
    return meta


def _image(
    request: Request, number: int, image: dict[str, Any], items: list[dict[str, Any]], names: dict[Any, str]
) -> ElementTree.Element:
    height, width = size_of(image)
    made = element("image", {"id": number, "name": image["file_name"], "width": width, "height": height})
    found, ignored = objects(items)
    request.counts.add("regions to ignore were left out, which CVAT does not have", len(ignored))
    group = 0
    for annotation in found:
        about = {"label": names[annotation["category_id"]], "source": "auto", "occluded": 0, "z_order": 0}
        if not annotation.get("segmentation"):
            made.append(element("box", about | _corners(annotation["bbox"])))
            continue
        mask = decode_mask(annotation["segmentation"], height, width)
        shapes = list(_polygons(mask) if request.polygons else _masks(mask))
        group += len(shapes) > 1
        request.counts.add("empty masks were left out", not shapes)
        for tag, attributes in shapes:
            made.append(element(tag, about | attributes | ({"group_id": group} if len(shapes) > 1 else {})))
    if image.get("done"):
        made.append(element("tag", {"label": DONE, "source": "manual"}))
    return made


def _masks(mask: np.ndarray) -> Iterator[tuple[str, dict[str, Any]]]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    runs = ", ".join(map(str, encode_runs(mask[top:bottom, left:right])))
    yield "mask", {"rle": runs, "left": left, "top": top, "width": right - left, "height": bottom - top}


def _polygons(mask: np.ndarray) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a polygon for each part; CVAT keeps parts of an object together as a group."""
    for ring in outlines(mask):
        yield "polygon", {"points": ";".join(f"{x:.{DIGITS}f},{y:.{DIGITS}f}" for x, y in ring)}


def _corners(box: list[float]) -> dict[str, str]:
    left, top, width, height = box
    values = {"xtl": left, "ytl": top, "xbr": left + width, "ybr": top + height}
    return {key: f"{value:.{DIGITS}f}" for key, value in values.items()}
