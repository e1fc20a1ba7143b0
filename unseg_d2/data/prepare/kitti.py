"""KITTI: boxes of the object benchmark, and masks of the instance benchmark, which has other images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.data.annotations.parse import convert
from unseg_d2.data.prepare.label_maps import image_size, mask_annotation, read_map
from unseg_d2.data.prepare.records import Corners, read_lines
from unseg_d2.data.prepare.writer import CocoWriter, Prepared, coco_writer, one_record
from unseg_d2.errors import UnsegError


def prepare_kitti(root: Path) -> Prepared:
    """Convert ``kitti/training/label_2/*.txt``: the 7481 images that have labels.

    Args:
        root: folder of the data sets.
    """
    folder = root / "kitti"
    labels = _sorted(folder / "training/label_2", "*.txt", "data_object_label_2.zip")
    protocol = (
        "All images of KITTI's object benchmark that have labels; boxes of all types as one class; DontCare regions "
        "are crowd regions. Boxes only: the object benchmark has no masks."
    )
    target = folder / "annotations/trainval_cls_agnostic.json"
    with coco_writer(target, source="label_2", protocol=protocol, full=7481) as writer:
        for label in labels:
            image = f"training/image_2/{label.stem}.png"
            height, width = image_size(folder / image)
            if not label.stem.isdecimal():
                raise UnsegError(f"The name of {label} is no number, as KITTI's are; move the file elsewhere.")
            with one_record(label):
                writer.add(
                    {"id": int(label.stem), "file_name": image, "height": height, "width": width},
                    _boxes(label, writer),
                )
    return writer.prepared


def prepare_kitti_instances(root: Path) -> Prepared:
    """Convert ``kitti/semantics/training/instance/*.png``: the 200 images of 2015 that have masks.

    Args:
        root: folder of the data sets.
    """
    folder = root / "kitti"
    maps = _sorted(folder / "semantics/training/instance", "*.png", "data_semantics.zip")
    protocol = (
        "All images of KITTI's instance benchmark (2015) that have labels; instances of all classes as one class; "
        "pixels without an instance number are background. These are not the images of the object benchmark."
    )
    target = folder / "annotations/instances_cls_agnostic.json"
    with coco_writer(target, source="data_semantics/training/instance", protocol=protocol, full=200) as writer:
        for number, path in enumerate(maps, start=1):
            values = read_map(path)
            image = {"id": number, "file_name": f"semantics/training/image_2/{path.name}"}
            writer.add(image | {"height": values.shape[0], "width": values.shape[1]}, _instances(values))
    return writer.prepared


def _boxes(path: Path, writer: CocoWriter) -> Iterator[dict[str, Any]]:
    """Yield the boxes of a label file: type, truncated, occluded, alpha, left, top, right, bottom, 3D ..."""
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 8:
            raise UnsegError(f"Line {number} of {path} is not a KITTI label: 15 fields are needed.")
        corners = dict(zip(("left", "top", "right", "bottom"), fields[4:8]))
        side = convert(corners, Corners, f"{path}: ", f"line {number}")
        if side.right <= side.left or side.bottom <= side.top:
            writer.leave_out("box without area")
            continue
        box = [side.left, side.top, side.right - side.left, side.bottom - side.top]
        box = [round(value, 2) for value in box]
        yield {"bbox": box, "area": box[2] * box[3], "iscrowd": int(fields[0] == "DontCare")}


def _instances(values: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield a mask per value; the high byte is the class, the low byte the instance, 0 for none."""
    for value in np.unique(values[values % 256 > 0]):
        yield mask_annotation(values == value)


def _sorted(folder: Path, pattern: str, archive: str) -> list[Path]:
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise UnsegError(f"There are no files {folder / pattern}; unpack {archive} there.")
    return paths
