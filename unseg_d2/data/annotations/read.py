"""From an entry of a COCO file to the form that everything else takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.masks import area_of, box_of, outline
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.annotations.structs import Annotation, Category, Identity, Image
from unseg_d2.errors import UnsegError
from unseg_d2.levels import KEYS
from unseg_d2.rle import decode_confidence

CATEGORY = {"id": 1, "name": "fg"}
"""The one that files without categories have."""
FOREIGN = 'annotations use "level", "granularity", "node" or "parent" for no level of detail; that was ignored'


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


def image_of(entry: Image) -> dict[str, Any]:
    """Return an image as `CocoDataset` has it, with the size that the file states.

    Raises:
        UnsegError: it has no file name, or an id with a fraction.
    """
    image: dict[str, Any] = {"id": identity(entry.id), "file_name": file_name_of(entry)}
    if entry.height and entry.width:
        image["height"], image["width"] = entry.height, entry.width
    if entry.proposals_left_out:
        image["proposals_left_out"] = entry.proposals_left_out
    if entry.done:
        image["done"] = True
    place = {"video_id": entry.video_id, "frame_id": entry.frame_id, "time": entry.time}
    return image | {key: value for key, value in place.items() if _is_plain(value)}


def file_name_of(entry: Image) -> str:
    """Return the file name of an image; LVIS gives the end of an address only.

    Raises:
        UnsegError: it has none.
    """
    if entry.file_name:
        return entry.file_name
    if entry.coco_url:  # LVIS: http://images.cocodataset.org/val2017/000000397133.jpg
        return "/".join(entry.coco_url.split("/")[-2:])
    raise UnsegError(f'image {quoted(entry.id)} lacks the key "file_name".')


def annotation_of(entry: Annotation, image: dict[str, Any], counts: Counts) -> dict[str, Any]:
    """Return an annotation as `CocoDataset` has it, but for its own id and that of its category.

    Args:
        entry: of the file.
        image: it belongs to, with its final size.
        counts: of what is left out.

    Raises:
        UnsegError: a value is wrong; run lengths are not looked at, unless the box or the area follows from them.
        Unusable: there is neither a box nor a mask.
    """
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
    if _is_plain(entry.track_id):
        annotation["track_id"] = entry.track_id
    annotation |= {key: True for key in ("filled", "key") if getattr(entry, key) in (True, 1)}
    if entry.group_confidence is not None:
        annotation["group_confidence"] = entry.group_confidence
    if is_confidence(entry.confidence):
        decode_confidence(entry.confidence)
        annotation["confidence"] = entry.confidence
    elif entry.confidence is not None:
        counts.add('values of "confidence" are not spatial confidence and were ignored')
    if has_place(entry):
        annotation |= place_of(entry)
        counts.add(FOREIGN, is_foreign(entry))
    return annotation


def _is_plain(value: Any) -> bool:
    """Whether a value that other tools may use for something else is a number or text, as ids and times are."""
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def has_place(entry: Annotation) -> bool:
    """Whether an annotation says anything under the names of a level of detail; see `unseg_d2.structures.Place`."""
    return not (entry.level is None and entry.granularity is None and entry.node is None and entry.parent is None)


def place_of(entry: Annotation) -> dict[str, Any]:
    """Return level, granularity, node and parent of an annotation, those that it states as we do.

    Other tools use these names for other things: text, or lists.
    """
    numbers: dict[str, Any] = {k: value for k, value in _place(entry).items() if type(value) is int and value >= 0}
    numbers.pop("granularity", None)
    coarse = entry.granularity
    if type(coarse) in (int, float) and 0 < coarse <= 1:
        numbers["granularity"] = float(coarse)
    return {key: numbers[key] for key in KEYS if key in numbers}


def is_foreign(entry: Annotation) -> bool:
    """Whether an annotation uses a name of a level of detail for something else."""
    return len(place_of(entry)) < sum(value is not None for value in _place(entry).values())


def _place(entry: Annotation) -> dict[str, Any]:
    return {key: getattr(entry, key) for key in KEYS}


def is_confidence(value: Any) -> bool:
    """Whether a value is a spatial confidence; other tools use the name for a number."""
    return isinstance(value, dict) and "data" in value


class Classes:
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


def called(entry: Annotation, number: int, image: dict[str, Any] | None = None) -> str:
    """Return what an annotation is called in messages: by its id, or its number in the file."""
    name = f"annotation number {number}" if entry.id is None else f"annotation {quoted(entry.id)}"
    return f"{name} of {quoted(image['file_name'])}" if image else name


def categories_of(entries: Iterable[Category | str] | None) -> list[dict[str, Any]]:
    """Return the categories of a file, ``{id, name}`` each; one where it has none."""
    categories = []
    for number, entry in enumerate(entries or (), 1):
        entry = Category(number, entry) if isinstance(entry, str) else entry
        key = number if entry.id is None else identity(entry.id)
        categories.append({"id": key, "name": str(key if entry.name is None else entry.name)})
    return categories or [dict(CATEGORY)]
