"""YOLO as Ultralytics reads it: a text file per picture, a line per object, coordinates as shares of the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from unseg_d2.errors import UnsegError
from unseg_d2.exchange.names import check_file_names, class_names, stems
from unseg_d2.exchange.outlines import one_outline
from unseg_d2.exchange.pictures import place
from unseg_d2.exchange.request import Request
from unseg_d2.exchange.source import by_image, objects, size_of
from unseg_d2.files import atomic_write
from unseg_d2.rle import decode_mask

DIGITS = 6
"""Decimals of a share: a hundredth of a pixel in an image of ten thousand."""


def write_segments(request: Request) -> Path:
    """Write the masks: one polygon per object, of which parts and holes are joined by cuts of no width.

    Returns:
        ``data.yaml``, which names the classes and the folder of the pictures.

    Raises:
        UnsegError: an annotation is a box without a mask.
    """
    boxes = sum(not a.get("segmentation") for a in request.dataset.annotations if not a["iscrowd"])
    if boxes:
        raise UnsegError(
            f"{boxes} annotations are boxes without masks, which segments of YOLO cannot hold; export them with "
            "--format yolo-boxes."
        )
    return _write(request, _segment)


def write_boxes(request: Request) -> Path:
    """Write the boxes.

    Returns:
        ``data.yaml``.
    """
    return _write(request, _box)


def _write(request: Request, shape: Any) -> Path:
    assert request.root is not None  # looked for where pictures are placed
    names = class_names(request.dataset.categories, "YOLO")
    numbers = {key: number for number, key in enumerate(names)}
    check_file_names(request.dataset.images, "YOLO")
    stems(request.dataset.images, "YOLO")
    for image, items in by_image(request.dataset):
        path = request.output / "images" / image["file_name"]
        place(request.root, image["file_name"], path, request.placing)
        found, ignored = objects(items)
        request.counts.add("regions to ignore were left out, which YOLO does not have", len(ignored))
        lines = []
        for annotation in found:
            values = shape(annotation, *size_of(image))
            if values is None:
                request.counts.add("empty masks were left out")
                continue
            lines.append(" ".join([str(numbers[annotation["category_id"]]), *(f"{v:.{DIGITS}f}" for v in values)]))
        with atomic_write(_label_path(path)) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
    about = {"path": str(request.output.resolve()), "train": "images", "val": "images", "names": list(names.values())}
    data = request.output / "data.yaml"
    with atomic_write(data) as file:
        file.write(yaml.safe_dump(about, allow_unicode=True, sort_keys=False).encode())
    return data


def _label_path(picture: Path) -> Path:
    """Where Ultralytics looks for the labels of a picture: in ``labels`` instead of the last folder ``images``."""
    before, _, name = str(picture).rpartition("/images/")
    return Path(f"{before}/labels/{name}").with_suffix(".txt")


def _segment(annotation: dict[str, Any], height: int, width: int) -> list[float] | None:
    ring = one_outline(decode_mask(annotation["segmentation"], height, width))
    return None if ring is None else (ring / (width, height)).ravel().tolist()


def _box(annotation: dict[str, Any], height: int, width: int) -> list[float]:
    left, top, box_width, box_height = annotation["bbox"]
    right, bottom = min(left + box_width, width), min(top + box_height, height)
    left, top = max(left, 0), max(top, 0)
    return [(left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height]
