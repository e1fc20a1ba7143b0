"""CorLoc: the share of images whose one predicted box localises an object.

Shape legend
    H, W   height and width of an image in pixels
    g      boxes of the ground truth
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from unseg_d2.evaluation.overlaps import xywh
from unseg_d2.evaluation.registry import EVALUATORS, Kind
from unseg_d2.evaluation.streams import StreamEvaluator
from unseg_d2.settings import Settings, setting

SELECTIONS = ("area", "box")
MIN_IOU = 0.5


@dataclass(frozen=True)
class CorLocSettings(Settings):
    """Settings of :class:`CorLoc`."""

    strict: bool = setting(False, "ask for an IoU of more than .5, as the text of Two Tricks, instead of .5 or more")


@EVALUATORS.register("corloc", settings=CorLocSettings)
class CorLoc(StreamEvaluator):
    """Evaluator of the box with the highest score of each image, by :func:`located`.

    Args:
        settings: see :class:`CorLocSettings`.
    """

    kinds = ("bbox",)

    def __init__(self, settings: CorLocSettings) -> None:
        self.settings = settings
        least = "an IoU above .5" if settings.strict else "an IoU of .5 or more"
        self.protocol = f"CorLoc: the share of images with objects whose best-scored box has {least} with one of them."

    def accumulator(self, kind: Kind) -> _Located:
        """Begin the share."""
        return _Located(self.settings.strict)


class _Located:
    """Keeps of each image with objects whether one was found."""

    def __init__(self, strict: bool) -> None:
        self.strict, self.parts = strict, [np.zeros(0, bool)]

    def update(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]]) -> None:
        """Take some images in; of equal scores the first result of an image counts."""
        best: dict[Any, dict[str, Any]] = {}
        for result in results:
            image_id = result["image_id"]
            if image_id not in best or result.get("score", 1.0) > best[image_id].get("score", 1.0):
                best[image_id] = result
        objects: dict[Any, list[np.ndarray]] = {image["id"]: [] for image in truth["images"]}
        for annotation in truth["annotations"]:
            if not annotation.get("iscrowd"):
                objects[annotation["image_id"]].append(_corners(annotation))
        boxes = [_corners(best[image_id]) if image_id in best else None for image_id in objects]
        self.parts.append(located(boxes, [np.array(known) for known in objects.values()], strict=self.strict))

    def compute(self) -> dict[str, float]:
        """Return ``CorLoc`` in percent, NaN without objects."""
        found = np.concatenate(self.parts)
        return {"CorLoc": 100 * float(found.mean()) if found.size else float("nan")}


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


def located(boxes: Sequence[np.ndarray | None], truth: Sequence[np.ndarray], *, strict: bool) -> np.ndarray:
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


def _corners(item: Mapping[str, Any]) -> np.ndarray:
    """Return the box ``x1, y1, x2, y2`` of an annotation or a result."""
    left, top, width, height = xywh(item)
    return np.array([left, top, left + width, top + height])
