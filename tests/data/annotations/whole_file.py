"""The reader that holds a whole file in dictionaries and loops over them: what the index is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.dataset import CocoDataset
from unseg_d2.data.annotations.masks import Unusable, check_run_lengths
from unseg_d2.data.annotations.panoptic import is_panoptic, separated
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.annotations.read import Classes, annotation_of, called, categories_of, identity, image_of
from unseg_d2.data.annotations.structs import Annotation, Content, Image, RunLengths
from unseg_d2.data.annotations.twins import join_twins
from unseg_d2.errors import UnsegError


def to_dataset(content: Content, counts: Counts) -> CocoDataset:
    """Check that images and annotations fit together, and fill in what follows from the rest.

    Args:
        content: what a file holds.
        counts: of what was left out or put right.

    Raises:
        UnsegError: ids mean two things, an annotation is of no image, a mask does not fit its image or is damaged, or a
            picture is listed twice with annotations that cannot be joined.
    """
    images, annotations = _images(content.images, counts), list(content.annotations or [])
    if is_panoptic(content):
        annotations = list(separated(content, None, counts).entries)
    by_id = {image["id"]: image for image in images}
    owners = _owners(annotations, by_id)
    _settle(images, annotations, owners, counts)
    categories = categories_of(content.categories)
    kept = _annotations(annotations, owners, Classes(categories), counts)
    images, kept, joined = join_twins(images, kept, counts)
    info = content.info if isinstance(content.info, dict) else {}
    return CocoDataset(images, kept, categories, info, joined)


def _images(entries: Sequence[Image], counts: Counts) -> list[dict[str, Any]]:
    images: dict[Any, dict[str, Any]] = {}
    for entry in entries:
        image: dict[str, Any] = {"id": identity(entry.id), "file_name": image_of(entry)["file_name"]}
        if entry.height and entry.width:
            image["height"], image["width"] = entry.height, entry.width
        if entry.proposals_left_out:
            image["proposals_left_out"] = entry.proposals_left_out
        if entry.done:
            image["done"] = True
        before = images.setdefault(image["id"], image)
        if before is image:
            continue
        if before != image:
            names = f"{quoted(before['file_name'])} and {quoted(image['file_name'])}"
            raise UnsegError(f"the image id {quoted(image['id'])} occurs more than once: {names} have it.")
        counts.add("entries of images that occur twice were left out")
    return list(images.values())


def _owners(annotations: Sequence[Annotation], images: dict[Any, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the image of each annotation; ``"7"`` and 7 mean the same where only one of them is listed."""
    texts: dict[str, dict[str, Any]] = {}
    owners = []
    for number, annotation in enumerate(annotations, 1):
        image = images.get(annotation.image_id)
        if image is None:
            texts = texts or {str(key): listed for key, listed in images.items()}
            image = texts.get(str(annotation.image_id))
        if image is None:
            raise UnsegError(
                f"{called(annotation, number)} belongs to image {quoted(annotation.image_id)}, which is not listed."
            )
        owners.append(image)
    return owners


def _annotations(
    entries: Sequence[Annotation], owners: Sequence[dict[str, Any]], classes: Classes, counts: Counts
) -> list[dict[str, Any]]:
    keys = {entry.id for entry in entries}
    numbered = len(keys) == len(entries) and None not in keys
    if not numbered and keys != {None}:
        counts.add("annotations have ids that are missing or occur twice; all were numbered anew", len(entries))
    kept = []
    for number, (entry, image) in enumerate(zip(entries, owners), 1):
        try:
            annotation = annotation_of(entry, image, counts)
        except Unusable:
            counts.add("annotations have neither a box nor a mask and were left out")
            continue
        except UnsegError as error:
            raise UnsegError(f"{called(entry, number, image)}: {error}") from None
        annotation["id"] = entry.id if numbered else number
        annotation["category_id"] = classes.of(entry.category_id)
        kept.append(annotation)
    names = {image["id"]: quoted(image["file_name"]) for image in owners}
    check_run_lengths(kept, lambda at: f"annotation {quoted(kept[at]['id'])} of {names[kept[at]['image_id']]}")
    return kept


def _settle(
    images: Sequence[dict[str, Any]],
    annotations: Sequence[Annotation],
    owners: Sequence[dict[str, Any]],
    counts: Counts,
) -> None:
    right, turned, other = set(), set(), False
    for annotation, image in zip(annotations, owners):
        mask = annotation.segmentation
        if not isinstance(mask, RunLengths) or mask.size is None:
            other = other or bool(mask)
            continue
        if "height" not in image:
            image["height"], image["width"] = mask.size
        elif mask.size == [image["height"], image["width"]]:
            right.add(image["id"])
        elif mask.size == [image["width"], image["height"]]:
            turned.add(image["id"])
    turned -= right
    everywhere = turned and not right and not other
    for image in images if everywhere else [image for image in images if image["id"] in turned]:
        if "height" in image:
            image["height"], image["width"] = image["width"], image["height"]
    counts.add(
        "images have width and height exchanged; the size of their masks counts",
        len(images) if everywhere else len(turned),
    )
