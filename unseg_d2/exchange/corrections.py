"""Put a person's corrections into a label set.

What comes back for an image replaces its masks. A mask that comes back as it was stays as it was, with its score,
unless the image is done; all others are the person's: they have score 1, no spatial confidence (which counts as certain
everywhere) and say ``"corrected": true``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unseg_d2.data.annotations.masks import area_of, rle_of
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.coco import CocoDataset
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.outlines import outlines
from unseg_d2.exchange.returned import ImageNames, Returned, Shape
from unseg_d2.exchange.source import by_image
from unseg_d2.exchange.writers.coco import DIGITS
from unseg_d2.levels import reconnected
from unseg_d2.pseudo.corrections import is_corrected
from unseg_d2.rle import compress, decode_mask, to_rle

Annotation = dict[str, Any]
NEAR = 0.5
"""Pixels by which the sides of a box may differ that comes back as it was: tools write shares of the image."""


@dataclass
class Report:
    """What corrections did.

    Attributes:
        images: that were changed or are done.
        unchanged: images that came back as they were.
        done: images that are done now and were not before.
        undone: images that are no longer done.
        new: masks that a person drew or changed.
        approved: masks that came back as they were in images that are done, or that a person kept.
        removed: masks that are gone.
        left_out: what could not be used, in words, to how often and the first example.
    """

    images: int = 0
    unchanged: int = 0
    done: int = 0
    undone: int = 0
    new: int = 0
    approved: int = 0
    removed: int = 0
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)

    def leave_out(self, what: str, example: str) -> None:
        """Count something that could not be used."""
        number, first = self.left_out.get(what, (0, example))
        self.left_out[what] = (number + 1, first)

    def lines(self) -> list[str]:
        """Return what happened, a sentence each."""
        text = [
            f"{self.images:,} images corrected: {self.new:,} masks new or changed, {self.approved:,} approved, "
            f"{self.removed:,} removed.",
            f"{self.done:,} images are done now." if self.done else "",
            f"{self.undone:,} images are no longer done." if self.undone else "",
            f"{self.unchanged:,} images came back as they were." if self.unchanged else "",
        ]
        text += [f"{number:,} {what}; the first is {first}." for what, (number, first) in self.left_out.items()]
        return [line for line in text if line]


class _Conflict(Exception):
    """What comes back lacks masks that a person drew before."""


def apply(
    dataset: CocoDataset, returned: Iterable[Returned], *, all_done: bool = False, overwrite: bool = False
) -> tuple[CocoDataset, Report]:
    """Put what came back from another tool into a label set.

    Args:
        dataset: the label set; it is not changed.
        returned: images with their masks.
        all_done: every image that comes back is done.
        overwrite: what comes back also replaces masks that a person drew before.

    Returns:
        The label set with the corrections, and what they did. Corrections of other images or of other sizes, and those
        that would undo earlier ones, are left out and counted; the masks of these images stay.
    """
    report, names = Report(), ImageNames(dataset.images)
    found: dict[Any, Returned] = {}
    for item in returned:
        image = names.find(item.names)
        if image is None:
            report.leave_out("images that came back are not in the label set", quoted(item.names[0]))
        elif item.size is not None and image.get("height") and item.size != (image["height"], image["width"]):
            sizes = f"{item.size[1]}x{item.size[0]} instead of {image['width']}x{image['height']} pixels"
            report.leave_out("images came back with another size", f"{quoted(item.names[0])} ({sizes})")
        elif image["id"] in found:
            report.leave_out("images came back more than once, and the first counts", quoted(item.names[0]))
        else:
            found[image["id"]] = replace(item, done=True) if all_done else item
    classes = Classes(dataset.categories)
    merged = Merged(dataset, report)
    for image, items in by_image(dataset):
        if image["id"] in found:
            back = found[image["id"]]
            if back.size is not None:
                image = image | {"height": back.size[0], "width": back.size[1]}
            try:
                merged.add(image, *_corrected(image, items, back, classes, report, overwrite))
                continue
            except _Conflict:
                report.leave_out(
                    "images came back without masks that a person drew before, which stay (--overwrite lets them go)",
                    quoted(image["file_name"]),
                )
            except UnsegError as error:  # the masks that the image had stay
                report.leave_out("images came back with a damaged mask", f"{quoted(image['file_name'])} ({error})")
        merged.keep(image, items)
    return merged.dataset(classes.categories), report


class Classes:
    """Ids of categories by name; a name that is new becomes a category.

    Args:
        categories: of the label set.
    """

    def __init__(self, categories: list[dict[str, Any]]) -> None:
        self.categories = list(categories)
        self.ids = {str(category["name"]): category["id"] for category in categories}

    def of(self, label: str | None) -> Any:
        """Return the id of a class; without a name, that of the first category."""
        if label is None:
            return self.categories[0]["id"]
        if not isinstance(label, str):
            raise UnsegError(f"its class is {quoted(label)}, which is no text")
        if label not in self.ids:
            numbers = [category["id"] for category in self.categories if isinstance(category["id"], int)]
            self.ids[label] = max(numbers, default=0) + 1
            self.categories.append({"id": self.ids[label], "name": label})
        return self.ids[label]


def approved(annotation: Annotation) -> Annotation:
    """Return a mask as one that a person has drawn or approved."""
    kept = {key: value for key, value in annotation.items() if key != "confidence"}
    return kept | {"score": 1.0, "corrected": True}


class Merged:
    """A label set in the making; annotations get ids that are free where they have none."""

    def __init__(self, dataset: CocoDataset, report: Report) -> None:
        self.before, self.report = dataset, report
        self.images: list[dict[str, Any]] = []
        self.annotations: list[Annotation] = []
        self.free = 1 + max((a["id"] for a in dataset.annotations if isinstance(a["id"], int)), default=0)
        self.placed: dict[Any, list[Annotation]] = {}
        for annotation in dataset.annotations:
            if "node" in annotation:
                self.placed.setdefault(annotation["image_id"], []).append(annotation)

    def keep(self, image: dict[str, Any], items: list[Annotation]) -> None:
        """Add an image as it is."""
        self.images.append(image)
        self.annotations += items

    def add(self, image: dict[str, Any], items: list[Annotation], done: bool, changed: bool) -> None:
        """Add an image with corrections, and count what became of it; parents that are gone are replaced."""
        before = bool(image.get("done"))
        self.report.done += done and not before
        self.report.undone += before and not done
        self.report.images += changed or done != before
        self.report.unchanged += not changed and done == before
        image = {key: value for key, value in image.items() if key != "done"} | ({"done": True} if done else {})
        for item in items:
            if "id" not in item:
                item["id"] = self.free
                self.free += 1
        self.keep(image, reconnected(self.placed.get(image["id"], []), items))

    def dataset(self, categories: list[dict[str, Any]]) -> CocoDataset:
        """Return the label set."""
        return replace(self.before, images=self.images, annotations=self.annotations, categories=categories)


def _corrected(
    image: dict[str, Any],
    before: list[Annotation],
    back: Returned,
    classes: Classes,
    report: Report,
    overwrite: bool,
) -> tuple[list[Annotation], bool, bool]:
    """Return the annotations of an image, whether it is done, and whether anything in it has changed.

    Raises:
        _Conflict: it came from before an earlier correction, as far as that can be seen.
    """
    done = bool(image.get("done") if back.done is None else back.done)
    crowds, rest = [a for a in before if a["iscrowd"]], [a for a in before if not a["iscrowd"]]
    kept: list[Annotation] = []
    new = agreed = 0
    for shape in back.shapes:
        made = _annotation(shape, image, classes)
        if made is None:
            report.leave_out("masks without pixels were left out", f"in {quoted(image['file_name'])}")
            continue
        same = next((item for item in _of_class(shape, made, rest) if _same(item, made, image)), None)
        if same is None:
            kept.append(made)
            new += 1
            if "segmentation" not in made:
                report.leave_out(
                    "boxes without masks came back, which a detector with masks is not trained on",
                    f"in {quoted(image['file_name'])}",
                )
            continue
        rest.remove(same)
        agreed += done and not is_corrected(same)
        kept.append(approved(same) if done else same)
    kept += _ignored(back.regions, rest, crowds, image, classes, report)
    stale = any(map(is_corrected, rest)) or (image.get("done") and not back.done and bool(new or rest))
    if stale and not overwrite:
        raise _Conflict
    report.new += new
    report.approved += agreed
    report.removed += len(rest)
    return [*kept, *crowds], done, bool(new or agreed or rest)


def _ignored(
    regions: Iterable[Shape],
    rest: list[Annotation],
    crowds: list[Annotation],
    image: dict[str, Any],
    classes: Classes,
    report: Report,
) -> list[Annotation]:
    """Return the masks that came back as regions to ignore, as ``export --ignore-below`` writes them; they stay.

    They are taken out of ``rest``. Regions that are neither such a mask nor one of ``crowds`` are counted: some tools
    mark all masks with ``iscrowd`` 1 that are no polygons.
    """
    kept = []
    for shape in regions:
        made = _annotation(shape, image, classes)
        if made is None or any(_same(item, made, image) for item in crowds):
            continue
        same = next((item for item in rest if _same(item, made, image)), None)
        if same is None:
            what = "regions to ignore (iscrowd 1) came back and are no masks"
            report.leave_out(what, f"in {quoted(image['file_name'])}")
            continue
        rest.remove(same)
        kept.append(same)
    return kept


def _of_class(shape: Shape, made: Annotation, items: list[Annotation]) -> list[Annotation]:
    """Return the masks of the class that a person chose; all, where the tool has no classes."""
    return items if shape.label is None else [item for item in items if item["category_id"] == made["category_id"]]


def _annotation(shape: Shape, image: dict[str, Any], classes: Classes) -> Annotation | None:
    """Return what a person drew as an annotation without an id, ``None`` for a mask without pixels.

    Raises:
        UnsegError: the mask, the box or the name of the class is damaged.
    """
    size = image.get("height"), image.get("width")
    made: Annotation = {"image_id": image["id"], "category_id": classes.of(shape.label), "iscrowd": 0}
    if shape.mask is None:
        _check_box(shape.box, *size)
        return made | {"bbox": shape.box, "area": area_of(None, shape.box, None, size), "score": 1.0, "corrected": True}
    mask = compress(shape.mask, *size)
    pixels = decode_mask(mask, *mask["size"])
    if not pixels.any():
        return None
    rows, columns = pixels.any(axis=1).nonzero()[0], pixels.any(axis=0).nonzero()[0]
    box = [float(columns[0]), float(rows[0]), float(columns[-1] + 1 - columns[0]), float(rows[-1] + 1 - rows[0])]
    return made | {"bbox": box, "area": int(pixels.sum()), "segmentation": mask, "score": 1.0, "corrected": True}


def _check_box(box: Sequence[float], height: int | None, width: int | None) -> None:
    left, top, columns, rows = box
    if not all(map(math.isfinite, box)):
        raise UnsegError("a box holds what is no finite number")
    outside = left + columns <= 0 or top + rows <= 0 or (width and left >= width) or (height and top >= height)
    if min(columns, rows) <= 0 or outside:
        raise UnsegError(f"a box of {columns:g}x{rows:g} pixels at {left:g}, {top:g} covers nothing of the image")


def _same(before: Annotation, made: Annotation, image: dict[str, Any]) -> bool:
    """Whether a mask came back as it was, or as it is drawn again from its exported outline."""
    if "segmentation" not in made:  # from a tool that has boxes only; a mask that it could not show is not lost
        return all(abs(a - b) <= NEAR for a, b in zip(before["bbox"], made["bbox"]))
    elsewhere = any(abs(a - b) > 2 for a, b in zip(before["bbox"], made["bbox"]))
    if elsewhere or not before.get("segmentation"):
        return False
    mask = rle_of(before["segmentation"], image.get("height"), image.get("width"))
    if _text(mask) == _text(made["segmentation"]):
        return True
    height, width = mask["size"]
    rings = [ring.round(DIGITS).ravel().tolist() for ring in outlines(decode_mask(mask, height, width))]
    return bool(rings) and _text(to_rle(rings, height, width)) == _text(made["segmentation"])


def _text(mask: dict[str, Any]) -> str:
    counts = mask["counts"]
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
