"""Open Images V6, validation: boxes from one table, masks from another with one PNG each."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from unseg_d2.data.annotations.parse import convert
from unseg_d2.data.prepare.label_maps import image_size, mask_annotation, read_map
from unseg_d2.data.prepare.records import OpenImagesBox, OpenImagesMask
from unseg_d2.data.prepare.writer import CocoWriter, Prepared, coco_writer, one_record
from unseg_d2.errors import UnsegError

Row = TypeVar("Row", OpenImagesBox, OpenImagesMask)
BOXES = "validation-annotations-bbox.csv"
MASKS = "validation-annotations-object-segmentation.csv"


def prepare_openimages(root: Path) -> Prepared:
    """Convert ``openImages/annotations/validation-annotations-bbox.csv``.

    Args:
        root: folder of the data sets; all images of the set have to be in ``openImages/validation``.
    """
    folder = root / "openImages"
    rows = _rows(folder / "annotations" / BOXES, OpenImagesBox)
    protocol = (
        "All images of Open Images V6 validation that lie in openImages/validation; boxes of all classes as one class; "
        "a box around a group (IsGroupOf) is a crowd region. Boxes only."
    )
    target = folder / "annotations/openimages_val_cls_agnostic.json"
    with coco_writer(target, source=BOXES, protocol=protocol, full=41620) as writer:
        for number, path in enumerate(_images(folder), start=1):
            height, width = image_size(path)
            image = {"id": number, "file_name": path.name, "height": height, "width": width}
            with one_record(folder / "annotations" / BOXES, f"image {path.stem}"):
                writer.add(image, (_box(row, height, width) for row in rows.pop(path.stem, ())))
        _refuse_rest(rows, folder)
    return writer.prepared


def prepare_openimages_masks(root: Path) -> Prepared:
    """Convert the masks of ``openImages/annotations/validation-annotations-object-segmentation.csv``.

    Args:
        root: folder of the data sets; the PNGs lie in ``openImages/masks``, in folders or not.
    """
    folder = root / "openImages"
    rows = _rows(folder / "annotations" / MASKS, OpenImagesMask)
    files = {path.name: path for path in (folder / "masks").rglob("*.png")}
    protocol = (
        "The images of Open Images V6 validation that have masks; masks of all classes as one class. Only some "
        "classes have masks, so a result on an object of another class counts as false."
    )
    target = folder / "annotations/openimages_val_masks_cls_agnostic.json"
    with coco_writer(target, source=MASKS, protocol=protocol) as writer:
        for number, path in enumerate((path for path in _images(folder) if path.stem in rows), start=1):
            height, width = image_size(path)
            image = {"id": number, "file_name": path.name, "height": height, "width": width}
            writer.add(image, _masks(rows.pop(path.stem), files, height, width, writer))
        _refuse_rest(rows, folder)
    return writer.prepared


def _rows(path: Path, kind: type[Row]) -> dict[str, list[Row]]:
    """Return the rows of a table by image."""
    rows: dict[str, list[Row]] = defaultdict(list)
    columns = kind.__struct_fields__
    try:
        with one_record(path), path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = set(columns) - set(table.fieldnames or ())
            if missing:
                raise UnsegError(f"{path} has no column {min(missing)}; take the file of Open Images V6.")
            for row in table:
                if None in (kept := {key: row[key] for key in columns}).values():
                    raise UnsegError(f"Line {table.line_num} of {path} is cut off; download the file again.")
                rows[row["ImageID"]].append(convert(kept, kind, f"{path}: ", f"line {table.line_num}"))
    except csv.Error as error:
        raise UnsegError(f"{path} is not a table: {error}.") from None
    except FileNotFoundError:
        raise UnsegError(f"There is no file {path}; download it there.") from None
    return rows


def _images(folder: Path) -> list[Path]:
    images = sorted((folder / "validation").glob("*.jpg"))
    if not images:
        raise UnsegError(f"There are no images {folder / 'validation'}/*.jpg; unpack validation.tar.gz there.")
    return images


def _refuse_rest(rows: dict[str, list[Row]], folder: Path) -> None:
    """Refuse a subset: every image of the table must exist."""
    if rows:
        raise UnsegError(
            f"{len(rows)} images of the table are not in {folder / 'validation'}, {min(rows)}.jpg for example; "
            "add them, as the benchmark has all of them."
        )


def _box(row: OpenImagesBox, height: int, width: int) -> dict[str, Any]:
    left, right, top, bottom = row.XMin * width, row.XMax * width, row.YMin * height, row.YMax * height
    box = [left, top, right - left, bottom - top]
    return {"bbox": box, "area": box[2] * box[3], "iscrowd": int(row.IsGroupOf == "1")}


def _masks(
    rows: list[OpenImagesMask], files: dict[str, Path], height: int, width: int, writer: CocoWriter
) -> Iterator[dict[str, Any]]:
    """Yield masks at the size of the image; the PNGs may have another."""
    for row in rows:
        if row.MaskPath not in files:
            raise UnsegError(
                f"There is no mask {row.MaskPath} in openImages/masks; unpack validation-masks-*.zip there."
            )
        mask = (read_map(files[row.MaskPath]) > 0).astype(np.uint8)
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
        if mask.any():
            yield mask_annotation(mask)
        else:
            writer.leave_out("empty mask")
