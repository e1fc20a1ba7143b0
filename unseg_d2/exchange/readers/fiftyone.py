"""Corrections in ``samples.json``, FiftyOne's own format (``FiftyOneDataset``), which keeps masks pixel by pixel.

Its COCO files have polygons instead, simplified by up to 2 pixels and without holes.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.returned import Returned, Shape
from unseg_d2.exchange.writers.cvat import DONE
from unseg_d2.rle import encode_mask

FIELD = "ground_truth"
"""Where FiftyOne puts the labels of a COCO file."""
_DETECTIONS = "Detections"
_HEADER = 4_096  # bytes of an array's header are fewer
_WIDEST = 8  # bytes of a number


def read_fiftyone(
    samples: list[Any], path: Path, find: Callable[[tuple[str, ...]], dict[str, Any] | None], counts: Counts
) -> list[Returned]:
    """Read the samples of a data set that FiftyOne exported.

    Args:
        samples: of the file.
        path: of the file, for messages.
        find: returns the image of a label set that has one of the names; FiftyOne measures in shares of an image, and
            often does not know its size.
        counts: of what was left out.

    Raises:
        UnsegError: a sample or a mask is damaged, or detections are in several fields.
    """
    field = _field(samples, path)
    returned = []
    for number, sample in enumerate(samples, 1):
        try:
            returned.append(_image(sample, field, find, counts))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, zlib.error) as error:
            detail = f"{type(error).__name__}: {error}" if isinstance(error, (KeyError, AttributeError)) else error
            raise UnsegError(f"{path}: sample {number} is damaged ({detail}); export the data set again.") from None
    return returned


def _image(
    sample: dict[str, Any], field: str, find: Callable[[tuple[str, ...]], dict[str, Any] | None], counts: Counts
) -> Returned:
    names = (str(sample["filepath"]).replace("\\", "/"),)
    image = find(names)
    if image is None:
        return Returned(names, None)
    shapes: list[Shape] = []
    regions: list[Shape] = []
    labels = sample.get(field) or {"_cls": _DETECTIONS, "detections": []}
    if labels.get("_cls") != _DETECTIONS:
        raise ValueError(f"{field} holds {labels.get('_cls')} in place of detections")
    counts.add("fields with other labels were left out", len(_labelled(sample)) - (field in _labelled(sample)))
    size = _size(sample.get("metadata") or {}) or _size(image)
    for item in labels["detections"]:
        if size is None:
            raise ValueError("its size is not stated; call labels.compute_metadata() before the export")
        (regions if item.get("iscrowd") else shapes).append(_shape(item, *size))
    return Returned(names, size, shapes, True if DONE in sample.get("tags", ()) else None, regions)


def _size(about: dict[str, Any]) -> tuple[int, int] | None:
    return (int(about["height"]), int(about["width"])) if about.get("height") and about.get("width") else None


def _field(samples: list[Any], path: Path) -> str:
    """Return the name of the field that holds the detections."""
    found = [_labelled(sample) for sample in samples if isinstance(sample, dict)]
    fields = {name for labels in found for name, kind in labels.items() if kind == _DETECTIONS}
    if not fields:
        raise UnsegError(f"{path} has no detections in any sample; export the data set with its labels.")
    if FIELD in fields:
        return FIELD
    if len(fields) > 1:
        names = ", ".join(sorted(fields))
        raise UnsegError(
            f'{path} has detections in several fields ({names}); export one of them: labels.select_fields("...").'
        )
    return fields.pop()


def _labelled(sample: dict[str, Any]) -> dict[str, str]:
    """Return the fields of a sample that hold labels, and of what kind these are."""
    fields = {name: value["_cls"] for name, value in sample.items() if isinstance(value, dict) and "_cls" in value}
    return {name: str(kind) for name, kind in fields.items() if not str(kind).endswith("Metadata")}


def _shape(item: dict[str, Any], height: int, width: int) -> Shape:
    """Return a detection as a box, or as a mask at the size of its image, to which it is cut."""
    if item.get("mask_path"):
        raise ValueError("a mask is in a file of its own; load it into the sample before the export")
    label = None if item.get("label") is None else str(item["label"])
    left, top, wide, high = (float(value) for value in item["bounding_box"])
    box = [left * width, top * height, wide * width, high * height]
    if not np.isfinite(box).all():
        raise ValueError("a box is not finite")
    if item.get("mask") is None:
        return Shape(label, box)
    columns = slice(*(int(np.clip(round(edge), -width, 2 * width)) for edge in (box[0], box[0] + box[2])))
    rows = slice(*(int(np.clip(round(edge), -height, 2 * height)) for edge in (box[1], box[1] + box[3])))
    part: np.ndarray = _mask(item["mask"], height, width).astype(np.uint8)
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    if min(shape) < 1 or 0 in part.shape:
        raise ValueError("a mask or its box is empty")
    if part.shape != shape:  # a person changed the box, and FiftyOne stretches the mask to it
        part = cv2.resize(part, shape[::-1], interpolation=cv2.INTER_NEAREST)
    mask = np.zeros((height, width), bool)
    inside = (slice(max(rows.start, 0), max(rows.stop, 0)), slice(max(columns.start, 0), max(columns.stop, 0)))
    cut = part[max(-rows.start, 0) :, max(-columns.start, 0) :]
    target = mask[inside]
    target[:] = cut[: target.shape[0], : target.shape[1]] > 0
    return Shape(label, [0.0, 0.0, float(width), float(height)], encode_mask(mask))


def _mask(value: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Return an array as FiftyOne stores it: NumPy's file format, compressed, in base64."""
    packed = base64.b64decode(value["$binary"]["base64"], validate=True)
    unpacking, most = zlib.decompressobj(), _HEADER + _WIDEST * height * width
    data = unpacking.decompress(packed, most)
    if not unpacking.eof:
        raise ValueError("a mask is cut off, or larger than its image")
    mask = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype.kind not in "bui":
        raise ValueError("a mask is no picture of numbers")
    return mask
