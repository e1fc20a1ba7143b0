"""Masks and boxes of annotations, completed from one another and checked against the size of their image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pycocotools import mask as mask_utils

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.outlines import flat_polygons
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.annotations.structs import Mask, RunLengths
from unseg_d2.errors import UnsegError
from unseg_d2.rle import Segmentation, compress, run_totals, to_rle

BATCH = 2_000  # masks whose run lengths are checked at once; more would not fit the cache


class Unusable(Exception):
    """Neither a box nor a mask."""


def outline(mask: Mask, height: int | None, width: int | None, counts: Counts) -> Segmentation | None:
    """Return the mask of an annotation in one of COCO's two forms, ``None`` where it has none.

    Args:
        mask: an annotation or a result.
        height: H of its image, ``None`` if it is not known.
        width: W of its image.
        counts: of polygons that were left out.

    Raises:
        UnsegError: run lengths have another size than the image.
    """
    segmentation = mask.segmentation
    if segmentation is None:
        return None
    if isinstance(segmentation, RunLengths):
        return _compressed(segmentation, height, width) if segmentation.counts else None
    if not segmentation:
        return None
    polygons, dropped = flat_polygons(segmentation)
    counts.add("polygons have less than three corners, or half a corner, and were left out", dropped)
    return polygons or None


def _compressed(mask: RunLengths, height: int | None, width: int | None) -> dict[str, Any]:
    stated = mask.size if mask.size is not None else [height, width]
    if stated[0] is None or stated[1] is None:
        raise UnsegError('its run lengths have no "size", and that of the image is not known.')
    if height is not None and stated != [height, width]:
        raise UnsegError(f"its mask of size {stated[0]}x{stated[1]} does not fit the image of {height}x{width}.")
    if isinstance(mask.counts, list):
        return to_rle({"size": stated, "counts": mask.counts}, int(stated[0]), int(stated[1]))
    return {"size": stated, "counts": mask.counts}


def stated_box(mask: Mask) -> list[float] | None:
    """Return the box that an annotation states, ``None`` where there is none or its width or height is negative.

    Raises:
        UnsegError: it has another number of values than four.
    """
    box = mask.bbox
    if box and len(box) != 4:
        raise UnsegError(f'its "bbox" has {len(box)} values, but four numbers (x, y, width, height) are needed.')
    return box if box and min(box[2:]) >= 0 else None


def box_of(mask: Mask, segmentation: Segmentation | None, height: int | None, width: int | None) -> list[float]:
    """Return the box of an annotation: its own or, where that is missing or has no area, the one around its mask.

    Args:
        mask: an annotation or a result.
        segmentation: what `outline` returned for it.
        height: H of its image.
        width: W of its image.

    Returns:
        ``[x, y, width, height]`` in px.

    Raises:
        UnsegError: the box has another number of values than four, or the mask is damaged.
        Unusable: there is neither a box nor a mask.
    """
    box = stated_box(mask)
    if box and min(box[2:]) > 0:
        return box
    if segmentation is None:
        raise Unusable
    return [float(value) for value in mask_utils.toBbox(rle_of(segmentation, height, width))]


def area_of(stated: Any, box: list[float], segmentation: Segmentation | None, size: tuple[Any, Any]) -> float:
    """Return the area in px: the stated one if an image can hold it, else that of the mask or the box."""
    pixels = math.inf if size[0] is None else 1.01 * size[0] * size[1] + 1
    if isinstance(stated, (int, float)) and not isinstance(stated, bool) and 0 <= stated <= pixels:
        return stated
    if segmentation is None:
        return float(box[2] * box[3])
    return float(mask_utils.area(rle_of(segmentation, *size)))


def rle_of(segmentation: Segmentation, height: int | None, width: int | None) -> dict[str, Any]:
    """Return a mask in compressed form.

    Raises:
        UnsegError: it is damaged, or polygons are in an image whose size is not known.
    """
    if isinstance(segmentation, dict):
        height, width = segmentation["size"]
    if height is None or width is None:
        raise UnsegError("the height and width of its image are missing, and no picture beside the file has them.")
    return to_rle(segmentation, height, width)


def draw_polygons(
    items: Iterable[dict[str, Any]], sizes: Mapping[Any, tuple[int | None, int | None]], where: object
) -> Iterator[dict[str, Any]]:
    """Yield annotations or results with polygons drawn as run lengths; others as they are.

    Args:
        items: with an ``image_id`` each.
        sizes: height and width of each image in px, by its id; what is of no such image stays as it is.
        where: the items are from, for messages.

    Raises:
        UnsegError: the size of an image is not known, or its polygons cannot be drawn.
    """
    for number, item in enumerate(items, 1):
        polygons, key = item.get("segmentation"), item["image_id"]
        if not isinstance(polygons, list) or key not in sizes:
            yield item
            continue
        try:
            yield item | {"segmentation": compress(polygons, *sizes[key])}
        except UnsegError as error:
            raise UnsegError(f"{where}: mask {number} (of image {quoted(key)}) cannot be drawn: {error}") from None


def check_run_lengths(items: Sequence[dict[str, Any]], name: Callable[[int], str]) -> None:
    """Check the run lengths of many masks in one go; one by one it would take minutes for a million images.

    Args:
        items: with a ``segmentation`` each; polygons are not looked at.
        name: what one is called in messages, by its place.

    Raises:
        UnsegError: run lengths are damaged, or do not sum to the size that is stated with them.
    """
    masks = [number for number, item in enumerate(items) if isinstance(item.get("segmentation"), dict)]
    for start in range(0, len(masks), BATCH):
        numbers = masks[start : start + BATCH]
        totals = run_totals([items[number]["segmentation"]["counts"] for number in numbers])
        for number, total in zip(numbers, totals.tolist()):
            height, width = items[number]["segmentation"]["size"]
            if total != height * width:
                raise UnsegError(f"{name(number)} is damaged: its run lengths do not sum to {height}x{width} pixels.")
