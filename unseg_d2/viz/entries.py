"""What a gallery page holds for one image: a line in its index, and the picture with its outlines.

The index is short and loaded at once, for counting and sorting; pictures are loaded in chunks when they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.levels import shown_at
from unseg_d2.rle import decode_mask, to_rle
from unseg_d2.viz.decisions import masks_key
from unseg_d2.viz.thumbnails import box_path, canvas_size, mask_path, thumbnail

Annotation = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One image of a gallery.

    Attributes:
        index: ``{name, width, height, sets, ids, key}``, and ``problem`` where the image could not be used. ``sets``
            holds for each label set the instances in order, as ``[score, area, IoU]``: score in [0, 1], share of the
            image, and best IoU with the other set; a value that does not exist is ``None``. Where instances lie within
            each other, two granularities follow: from which on, and up to which, one is shown, see
            `unseg_d2.levels.shown_at`.
            ``ids`` are those of the first set's annotations, in order, and ``key`` is their checksum.
            ``classes`` are the numbers of the instances' classes, of each set, where classes are told apart.
        picture: ``[JPEG in base64, outlines of the first set, outlines of the second set]``.
    """

    index: dict[str, Any]
    picture: list[Any]


def ordered(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Return annotations in the order in which they are listed and coloured: best score, then largest area first."""
    return sorted(annotations, key=lambda a: (-(_finite(a.get("score")) or 0.0), -float(a["area"])))


def make_entry(
    name: str,
    image: np.ndarray,
    sets: Sequence[Sequence[Annotation]],
    *,
    side: int,
    quality: int,
    classes: Sequence[Mapping[Any, int]] = (),
) -> Entry:
    """Make the entry of one image.

    Args:
        name: its file name.
        image: ``(H, W, 3)`` uint8 RGB.
        sets: annotations of the image, as `unseg_d2.data.coco.read_coco` checked them, for one or two label sets.
        side: longest side of the thumbnail in pixels.
        quality: of its JPEG, 1 to 100.
        classes: number of each category of each label set, empty for one whose classes are not told apart; none where
            those of no set are.

    Raises:
        UnsegError: if a mask does not have the size of the image.
    """
    height, width = image.shape[:2]
    sets = [ordered(annotations) for annotations in sets]
    overlaps = best_overlaps(sets[0], sets[1], height, width) if len(sets) == 2 else [None] * len(sets[0])
    index = {
        "name": name,
        "width": width,
        "height": height,
        "sets": [
            [
                [*_measures(annotation, height * width, iou), *shown]
                for annotation, iou, shown in zip(annotations, ious, shown_at(annotations), strict=True)
            ]
            for annotations, ious in zip(sets, (overlaps, [None] * len(sets[-1])))
        ],
        "ids": [annotation["id"] for annotation in sets[0]],
        "key": masks_key(sets[0]),
    }
    if classes:
        index["classes"] = [
            [of_set.get(annotation.get("category_id")) for annotation in annotations] if of_set else []
            for of_set, annotations in zip(classes, sets, strict=True)
        ]
    outlines = [[_path(annotation, height, width) for annotation in annotations] for annotations in sets]
    return Entry(index, [thumbnail(image, side=side, quality=quality), *outlines])


def broken_entry(name: str, problem: str, sets: int) -> Entry:
    """Return the entry of an image that cannot be shown, with the reason."""
    height, width = canvas_size(3, 4)
    index = {"name": name, "width": width, "height": height, "sets": [[]] * sets, "ids": [], "problem": problem}
    return Entry(index, ["", *[[]] * sets])


def best_overlaps(
    masks: Sequence[Annotation], others: Sequence[Annotation], height: int, width: int
) -> list[float | None]:
    """Return for each mask its best IoU with the other label set, crowds left out.

    Args:
        masks: annotations of one label set.
        others: annotations of the other one.
        height: H of the image.
        width: W of the image.

    Returns:
        IoU in [0, 1] per annotation of ``masks``; ``None`` where it has no mask.
    """
    having = [i for i, annotation in enumerate(masks) if annotation.get("segmentation")]
    others = [other for other in others if other.get("segmentation") and not other.get("iscrowd")]
    best: list[float | None] = [None] * len(masks)
    if having:
        first = [to_rle(masks[i]["segmentation"], height, width) for i in having]
        second = [to_rle(other["segmentation"], height, width) for other in others]
        ious = np.asarray(mask_utils.iou(first, second, [0] * len(second))).reshape(len(first), len(second))
        for i, row in zip(having, ious):
            best[i] = round(float(row.max(initial=0.0)), 3)
    return best


def _measures(annotation: Annotation, pixels: int, iou: float | None) -> list[float | None]:
    score = _finite(annotation.get("score"))
    return [None if score is None else round(score, 3), round(float(annotation["area"]) / pixels, 4), iou]


def _path(annotation: Annotation, height: int, width: int) -> str:
    if not annotation.get("segmentation"):
        return box_path(annotation["bbox"], height, width)
    return mask_path(decode_mask(annotation["segmentation"], height, width))


def _finite(score: Any) -> float | None:
    """The score if it is a finite number, else None: label sets from elsewhere may hold text, NaN or nothing."""
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
        return None
    return float(score)
