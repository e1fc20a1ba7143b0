"""Write a label set or predictions in the format of another tool."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.coco import CocoDataset
from unseg_d2.data.label_studio import LOCAL_FILES
from unseg_d2.data.spec import split_spec
from unseg_d2.errors import UnsegError
from unseg_d2.exchange import source
from unseg_d2.exchange.formats import Format, format_of
from unseg_d2.exchange.pictures import Placing, located
from unseg_d2.exchange.request import Request
from unseg_d2.files import check_apart
from unseg_d2.pseudo.label_set import labels_file
from unseg_d2.storage.addresses import to_path
from unseg_d2.storage.patterns import image_root

HOLD_LEVELS = ("coco", "fiftyone")
"""Formats whose annotations have fields of any name."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file or folder to name to the other tool.
        images: number of images.
        masks: number of masks and boxes.
        left_out: what the format cannot hold, in one line; empty where nothing was left out.
    """

    path: Path
    images: int
    masks: int
    left_out: str


def export_labels(
    labels: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    format: str = "coco",
    images: str | os.PathLike[str] | None = None,
    ground_truth: str | os.PathLike[str] | None = None,
    images_as: Placing | None = None,
    polygons: bool = False,
    image_prefix: str | None = None,
    ignore_below: float | None = None,
    ignore_unlabelled: bool = False,
) -> Exported:
    """Write a label set, or predictions, in the format of another tool.

    Args:
        labels: label set (COCO file or folder), or COCO results together with ``ground_truth``.
        output: folder to write; for ``coco`` also a file.
        format: ``coco``, ``yolo``, ``yolo-boxes``, ``label-studio``, ``cvat``, ``voc``, ``png``, ``fiftyone`` or
            ``youtube-vis``.
        images: folder of the images; if omitted, it is searched for near ``labels``.
        ground_truth: data set that results are for, which names their images.
        images_as: ``reference`` (leave them where they are), ``link`` or ``copy``; by default what the format needs.
        polygons: polygons instead of run lengths, for ``coco`` and ``cvat``.
        image_prefix: what comes before a file name in an address of Label Studio.
        ignore_below: masks of a lower score become regions to ignore instead of objects.
        ignore_unlabelled: what no mask covers is a region to ignore, in images that are not done.

    Returns:
        Where it is, how much it holds, and what the format could not hold.

    Raises:
        UnsegError: a file is missing or damaged, the pictures are needed and not found, an option has no effect on the
            format, or the format cannot hold a class name, a file name or a box without a mask.
    """
    kind = format_of(format)
    _check_options(format, kind, images_as, polygons, image_prefix, ignore_below, ignore_unlabelled)
    path, root = split_spec(os.fspath(labels))
    dataset = source.read_source(Path(path), None if ground_truth is None else Path(ground_truth))
    _check_classes(dataset, path)
    placing: Placing = images_as or kind.placing
    folder = to_path(images) if images is not None else image_root(root) if root else None
    place_of = Path(path if ground_truth is None else ground_truth)
    dataset, found = _with_pictures(dataset, place_of, folder, needed=placing != "reference")
    output = Path(output)
    if kind.file:
        target = output if output.suffix == ".json" else output / kind.file
        check_apart(target, labels_file(path), *([] if ground_truth is None else [Path(ground_truth)]))
    if format == "png" and found is not None:  # of the name that the pictures may have
        check_apart(output, found)
    counts: list[str] = []
    if ignore_below is not None:
        dataset, number = source.ignore_below(dataset, ignore_below)
        counts.append(f"{number:,} masks of a score below {ignore_below:g} are regions to ignore")
    if ignore_unlabelled:
        dataset, number = source.ignore_unlabelled(dataset)
        counts.append(f"{number:,} images got a region to ignore where no mask is")
    placed = sum("level" in annotation for annotation in dataset.annotations)
    if placed and format not in HOLD_LEVELS:
        counts.append(f"{placed:,} masks have a level of detail, which {format} cannot hold")
    prefix = LOCAL_FILES if image_prefix is None else image_prefix
    request = Request(dataset, output, placing, found, polygons, prefix)
    written = kind.write(request)
    masks = sum(not annotation["iscrowd"] for annotation in dataset.annotations)
    return Exported(written, len(dataset.images), masks, "; ".join([*counts, *filter(None, [request.counts.line()])]))


def _with_pictures(
    dataset: CocoDataset, labels: Path, folder: Path | None, *, needed: bool
) -> tuple[CocoDataset, Path | None]:
    """Find the pictures; where they are not needed, an export goes without them."""
    try:
        return located(dataset, labels, folder)
    except UnsegError:
        if needed or folder is not None:
            raise
        return dataset, None


def _check_options(
    name: str,
    kind: Format,
    images_as: str | None,
    polygons: bool,
    prefix: str | None,
    ignore_score: float | None,
    ignore_parts: bool,
) -> None:
    """Refuse what has no effect on a format."""
    if images_as is not None and images_as not in get_args(Placing):
        raise UnsegError(f"Images can be placed as {', '.join(get_args(Placing))}, but not as {images_as}.")
    if kind.beside and images_as == "reference":
        raise UnsegError(f"{name} needs the pictures beside the labels; use --images-as link or copy.")
    if polygons and not kind.polygons:
        raise UnsegError(f"--polygons has no effect on {name}, which has one form of masks only; leave it out.")
    if prefix is not None and not kind.prefix:
        raise UnsegError(f"--image-prefix has no effect on {name}, which holds no addresses; leave it out.")
    if ignore_score is not None and not math.isfinite(ignore_score):
        raise UnsegError(f"--ignore-below is {ignore_score}, but must be a number.")
    if (ignore_score is not None or ignore_parts) and not kind.ignored:
        raise UnsegError(
            f"{name} has no regions to ignore, so --ignore-below and --ignore-unlabelled cannot be followed; leave "
            "them out, or use coco, fiftyone, voc or png."
        )


def _check_classes(dataset: CocoDataset, path: str) -> None:
    known = {category["id"] for category in dataset.categories}
    stray = next((a for a in dataset.annotations if a["category_id"] not in known), None)
    if stray is not None:
        raise UnsegError(
            f"{path}: annotation {quoted(stray['id'])} has the class {quoted(stray['category_id'])}, which is not "
            "listed among the categories."
        )
