"""What a person has drawn or approved, beside what a network found: the person's masks stay, the network's yield.

An annotation that a person has drawn or approved says ``"corrected": true``; an image in which a person has given every
object its mask says ``"done": true``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycocotools import mask as mask_utils

Annotation = dict[str, Any]


def is_corrected(annotation: Annotation) -> bool:
    """Return whether a person has drawn or approved a mask."""
    return bool(annotation.get("corrected"))


def yield_to_corrections(
    detections: Sequence[Annotation], masks: Sequence[Annotation], *, match_iou: float, done: bool = False
) -> list[Annotation]:
    """Return the detections of an image that may stand beside the masks that a person has drawn or approved.

    Args:
        detections: of the image, with an RLE each.
        masks: of the image, with an RLE each; those that no person has seen are not looked at.
        match_iou: a detection goes when its IoU with a corrected mask is this or more: it is the same object.
        done: every object of the image has its mask, so that all detections go.
    """
    corrected = [mask["segmentation"] for mask in masks if is_corrected(mask)]
    if done or not detections:
        return []
    if not corrected:
        return list(detections)
    # Overlap of run lengths: no mask is ever expanded to pixels.
    iou = mask_utils.iou([item["segmentation"] for item in detections], corrected, [0] * len(corrected))
    return [item for item, best in zip(detections, iou.max(axis=1)) if best < match_iou]
