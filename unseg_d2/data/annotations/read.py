"""From the content of a COCO file to a data set whose parts fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.dataset import CocoDataset
from unseg_d2.data.annotations.masks import Unusable, area_of, box_of, check_run_lengths, outline
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.annotations.sizes import Sizes
from unseg_d2.data.annotations.structs import Annotation, Category, Content, Identity, Image
from unseg_d2.data.annotations.twins import join_twins
from unseg_d2.errors import UnsegError
from unseg_d2.rle import decode_confidence

CATEGORY = {"id": 1, "name": "fg"}
"""The one that files without categories have."""


def to_dataset(content: Content, sizes: Sizes, counts: Counts) -> CocoDataset:
    """Check that images and annotations fit together, and fill in what follows from the rest.

    Args:
        content: what a file holds.
        sizes: finds the size of images that do not state it.
        counts: of what was left out or put right.

    Raises:
        UnsegError: ids mean two things, an annotation is of no image, a mask does not fit its image or is damaged, or a
            picture is listed twice with annotations that cannot be joined.
    """
    images, annotations = _images(content.images, counts), _separate(content.annotations or [], counts)
    by_id = {image["id"]: image for image in images}
    owners = _owners(annotations, by_id)
    sizes.settle(images, annotations, owners)
    categories = _categories(content.categories)
    kept = _annotations(annotations, owners, _Classes(categories), counts)
    images, kept, joined = join_twins(images, kept, counts)
    info = content.info if isinstance(content.info, dict) else {}
    return CocoDataset(images, kept, categories, info, joined)


def identity(value: Identity) -> int | str:
    """Return an id as it is compared: a whole number that was written with a point is that number.

    Raises:
        UnsegError: it is a number with a fraction.

    >>> identity(3.0), identity("3")
    (3, '3')
    """
    if isinstance(value, float):
        if value != value or abs(value) == float("inf") or value != int(value):
            raise UnsegError(f"the id {value} is neither a whole number nor text.")
        return int(value)
    return value


def _images(entries: Sequence[Image], counts: Counts) -> list[dict[str, Any]]:
    images: dict[Any, dict[str, Any]] = {}
    for entry in entries:
        image: dict[str, Any] = {"id": identity(entry.id), "file_name": _file_name(entry)}
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


def _file_name(entry: Image) -> str:
    if entry.file_name:
        return entry.file_name
    if entry.coco_url:  # LVIS: http://images.cocodataset.org/val2017/000000397133.jpg
        return "/".join(entry.coco_url.split("/")[-2:])
    raise UnsegError(f'image {quoted(entry.id)} lacks the key "file_name".')


def _separate(annotations: list[Annotation], counts: Counts) -> list[Annotation]:
    """Return the segments of a panoptic file as annotations of their own; others as they are."""
    if not any(entry.segments_info for entry in annotations):
        return annotations
    separate: list[Annotation] = []
    for entry in annotations:
        for part in entry.segments_info or ():
            about = {"area": part.area, "iscrowd": part.iscrowd, "category_id": part.category_id}
            separate.append(
                Annotation(image_id=entry.image_id, bbox=part.bbox, segmentation=part.segmentation, **about)
            )
    counts.add("segments of a panoptic file are read as boxes; their masks lie in pictures", len(separate))
    return separate


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
                f"{_called(annotation, number)} belongs to image {quoted(annotation.image_id)}, which is not listed."
            )
        owners.append(image)
    return owners


def _annotations(
    entries: Sequence[Annotation], owners: Sequence[dict[str, Any]], classes: _Classes, counts: Counts
) -> list[dict[str, Any]]:
    keys = {entry.id for entry in entries}
    numbered = len(keys) == len(entries) and None not in keys
    if not numbered and keys != {None}:
        counts.add("annotations have ids that are missing or occur twice; all were numbered anew", len(entries))
    kept = []
    for number, (entry, image) in enumerate(zip(entries, owners), 1):
        try:
            annotation = _annotation(entry, image, counts)
        except Unusable:
            counts.add("annotations have neither a box nor a mask and were left out")
            continue
        except UnsegError as error:
            raise UnsegError(f"{_called(entry, number, image)}: {error}") from None
        annotation["id"] = entry.id if numbered else number
        annotation["category_id"] = classes.of(entry.category_id)
        kept.append(annotation)
    names = {image["id"]: quoted(image["file_name"]) for image in owners}
    check_run_lengths(kept, lambda at: f"annotation {quoted(kept[at]['id'])} of {names[kept[at]['image_id']]}")
    return kept


def _annotation(entry: Annotation, image: dict[str, Any], counts: Counts) -> dict[str, Any]:
    size = height, width = image.get("height"), image.get("width")
    segmentation = outline(entry, height, width, counts)
    box = box_of(entry, segmentation, height, width)
    annotation: dict[str, Any] = {
        "id": 0,
        "image_id": image["id"],
        "category_id": 1,
        "bbox": box,
        "area": area_of(entry.area, box, segmentation, size),
        "iscrowd": int(bool(entry.iscrowd)),
    }
    if segmentation is not None:
        annotation["segmentation"] = segmentation
    if entry.score is not None:
        annotation["score"] = entry.score
    if entry.corrected:
        annotation["corrected"] = True
    if isinstance(entry.confidence, dict) and "data" in entry.confidence:
        decode_confidence(entry.confidence)
        annotation["confidence"] = entry.confidence
    elif entry.confidence is not None:
        counts.add('values of "confidence" are not spatial confidence and were ignored')
    return annotation


class _Classes:
    """Ids of categories, also where an annotation states them as text or by name."""

    def __init__(self, categories: Sequence[dict[str, Any]]) -> None:
        self.ids = {category["id"]: category["id"] for category in categories}
        self.texts = {str(category["name"]): category["id"] for category in categories}
        self.texts |= {str(key): key for key in self.ids}
        self.default = next(iter(self.ids)) if len(self.ids) == 1 else None

    def of(self, stated: Identity | None) -> Any:
        """Return the id that an annotation means; what is not listed stays as it is."""
        if stated is None:
            return self.default
        return self.ids[stated] if stated in self.ids else self.texts.get(str(stated), stated)


def _called(entry: Annotation, number: int, image: dict[str, Any] | None = None) -> str:
    name = f"annotation number {number}" if entry.id is None else f"annotation {quoted(entry.id)}"
    return f"{name} of {quoted(image['file_name'])}" if image else name


def _categories(entries: Sequence[Category | str] | None) -> list[dict[str, Any]]:
    categories = []
    for number, entry in enumerate(entries or (), 1):
        entry = Category(number, entry) if isinstance(entry, str) else entry
        key = number if entry.id is None else identity(entry.id)
        categories.append({"id": key, "name": str(key if entry.name is None else entry.name)})
    return categories or [dict(CATEGORY)]
