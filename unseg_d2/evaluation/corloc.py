"""CorLoc: the share of images whose one predicted box localises an object.

Shape legend
    H, W   height and width of an image in pixels
    g      boxes of the ground truth
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

SELECTIONS = ("area", "box")
MIN_IOU = 0.5


def object_box(mask: np.ndarray, selection: str = "area") -> np.ndarray | None:
    """Return the box around one connected part of a mask.

    Args:
        mask: ``(H, W)`` bool; parts are connected along sides.
        selection: the part of largest ``area``, or with the largest ``box``, as in Two Tricks.

    Returns:
        ``(4,)`` float64 ``x1, y1, x2, y2`` in pixels, outer edges; ``None`` for an empty mask.

    Raises:
        ValueError: for another selection.
    """
    if selection not in SELECTIONS:
        raise ValueError(f"selection must be one of {', '.join(SELECTIONS)}, got '{selection}'")
    parts, count = ndimage.label(mask)
    if not count:
        return None
    slices = ndimage.find_objects(parts)
    if selection == "area":
        sizes = np.bincount(parts.ravel())[1:]
    else:
        sizes = np.array([(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in slices])
    rows, columns = slices[int(np.argmax(sizes))]
    return np.array([columns.start, rows.start, columns.stop, rows.stop], dtype=float)


def part_boxes(mask: np.ndarray) -> np.ndarray:
    """Return the box around each connected part of a mask, ``(g, 4)``: ground truth where only masks are given."""
    slices = ndimage.find_objects(ndimage.label(mask, structure=np.ones((3, 3)))[0])
    return np.array([[c.start, r.start, c.stop, r.stop] for r, c in slices], dtype=float).reshape(-1, 4)


def box_ious(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the IoU of a box ``(4,)`` with each of ``(g, 4)``, all ``x1, y1, x2, y2``; sides are differences."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    overlap = np.clip(high - low, 0, None).prod(1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - overlap
    return overlap / np.maximum(union, np.finfo(float).tiny)


def located(boxes: Sequence[np.ndarray | None], truth: Sequence[np.ndarray], *, strict: bool = False) -> np.ndarray:
    """Return for each image whether its box has an IoU of .5 or more with any box of the ground truth.

    Args:
        boxes: ``(4,)`` of each image, or ``None``.
        truth: ``(g, 4)`` of each image.
        strict: more than .5 instead, as in the text of Two Tricks.

    Returns:
        ``(number of images with ground truth,)`` bool: images without any do not count, as in LOST and TokenCut.
        CorLoc is its mean.
    """
    found = []
    for box, objects in zip(boxes, truth, strict=True):
        if len(objects):
            best = 0.0 if box is None else box_ious(box, objects).max()
            found.append(best > MIN_IOU if strict else best >= MIN_IOU)
    return np.array(found, dtype=bool)
