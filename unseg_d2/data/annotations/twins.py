"""A picture that is listed twice: its entries are joined where nothing in it is annotated twice."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
from pycocotools import mask as mask_utils

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.errors import UnsegError
from unseg_d2.files import same_name

SAME_OBJECT = 0.5  # IoU of the boxes of two annotations from which on they are taken for one object

Entry = dict[str, Any]


def join_twins(
    images: list[Entry], annotations: list[Entry], counts: Counts
) -> tuple[list[Entry], list[Entry], dict[Any, Any]]:
    """Join the entries of pictures that are listed more than once.

    Annotations that are equal in everything count once. What is annotated twice and not equally, as by two people,
    cannot be joined: every object would count twice.

    Args:
        images: with an ``id`` and a ``file_name`` each.
        annotations: with ``image_id``, ``bbox`` and, where there is one, ``segmentation``.
        counts: of entries that were joined.

    Returns:
        The images, the annotations, and the ids that are gone, each with the id of the same picture.

    Raises:
        UnsegError: a picture is annotated twice, or listed with two sizes.
    """
    groups: dict[str, list[Entry]] = defaultdict(list)
    for image in images:
        groups[same_name(image["file_name"])].append(image)
    if len(groups) == len(images):
        return images, annotations, {}
    twins = [group for group in groups.values() if len(group) > 1]
    joined = {image["id"]: group[0]["id"] for group in twins for image in group[1:]}
    of_twins: dict[Any, list[Entry]] = defaultdict(list)
    for annotation in annotations:
        of_twins[annotation["image_id"]].append(annotation)
    dropped: set[int] = set()
    for group in twins:
        _check_sizes(group)
        dropped |= _equal_ones(group, of_twins)
    counts.add("entries list a picture again and were joined with the first", len(joined))
    counts.add("annotations of these pictures occur twice and count once", len(dropped))
    kept = [annotation for annotation in annotations if id(annotation) not in dropped]
    for annotation in kept:
        annotation["image_id"] = joined.get(annotation["image_id"], annotation["image_id"])
    return [image for image in images if image["id"] not in joined], kept, joined


def _check_sizes(group: list[Entry]) -> None:
    if len({(image.get("height"), image.get("width")) for image in group}) > 1:
        raise UnsegError(f"{_twice(group)} with different sizes; list each picture once.")


def _equal_ones(group: list[Entry], annotations: dict[Any, list[Entry]]) -> set[int]:
    """Return which annotations of later entries equal one before them; refuse those that only resemble one."""
    seen: set[bytes] = set()
    boxes: list[list[float]] = []
    dropped = set()
    for image in group:
        new = []
        for annotation in annotations[image["id"]]:
            key = msgspec.json.encode([annotation["bbox"], annotation.get("segmentation"), annotation["iscrowd"]])
            if key in seen and image is not group[0]:
                dropped.add(id(annotation))
                continue
            seen.add(key)
            new.append(annotation["bbox"])
        if boxes and new and mask_utils.iou(new, boxes, [0] * len(boxes)).max() >= SAME_OBJECT:
            raise UnsegError(
                f"{_twice(group)}, and the same objects are annotated in each entry, not equally; list each picture "
                "once, with the annotations that shall count."
            )
        boxes += new
    return dropped


def _twice(group: list[Entry]) -> str:
    ids = " and ".join(quoted(image["id"]) for image in group[:2])
    return f"the picture {quoted(group[0]['file_name'])} is listed more than once (ids {ids})"
