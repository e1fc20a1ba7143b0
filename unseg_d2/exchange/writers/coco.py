"""COCO, and the folder that FiftyOne reads as COCO."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unseg_d2.exchange.outlines import outlines
from unseg_d2.exchange.pictures import place
from unseg_d2.exchange.request import Request
from unseg_d2.exchange.source import size_of
from unseg_d2.pseudo.label_set import write_label_set
from unseg_d2.rle import decode_mask

DIGITS = 2
"""Decimals of the coordinates of polygons; a quarter of a pixel has two."""


def write_coco(request: Request) -> Path:
    """Write one COCO file; with pictures beside it, a folder ``images`` and ``labels.json``.

    Returns:
        The file.
    """
    beside = request.placing != "reference"
    folder = request.output if beside else request.output.parent
    path = request.output / "labels.json" if beside or not request.output.suffix else request.output
    info = {**request.info(path.parent), **({"image_root": "images"} if beside else {})}
    if beside:
        _place(request, folder / "images")
    annotations = _annotations(request)
    dataset = request.dataset
    write_label_set(path, info, dataset.images, annotations, dataset.categories, dataset.videos)
    return path


def write_fiftyone(request: Request) -> Path:
    """Write the layout of FiftyOne's ``COCODetectionDataset``: pictures in ``data``, ``labels.json`` beside it.

    Returns:
        The folder.
    """
    _place(request, request.output / "data")
    ours = {"confidence", "corrected"}  # FiftyOne would take them for attributes
    annotations = ({key: item[key] for key in item if key not in ours} for item in _annotations(request))
    info = {"description": "by unseg_d2", "image_root": "data"}
    path = request.output / "labels.json"
    write_label_set(path, info, request.dataset.images, annotations, request.dataset.categories)
    return request.output


def _place(request: Request, folder: Path) -> None:
    assert request.root is not None  # looked for where pictures are placed
    for image in request.dataset.images:
        place(request.root, image["file_name"], folder / image["file_name"], request.placing)


def _annotations(request: Request) -> Iterator[dict[str, Any]]:
    sizes = {image["id"]: image for image in request.dataset.images}
    for annotation in request.dataset.annotations:
        if request.polygons and isinstance(annotation.get("segmentation"), dict) and not annotation["iscrowd"]:
            mask = decode_mask(annotation["segmentation"], *size_of(sizes[annotation["image_id"]]))
            rings = [ring.round(DIGITS).ravel().tolist() for ring in outlines(mask)]
            annotation = annotation | {"segmentation": rings}
        yield annotation
