"""What is shown: a label set with its name, and the pixels of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.coco import CocoDataset, resolve_image
from unseg_d2.data.images import read_image
from unseg_d2.data.pictures.reading import DEFAULT_READING, Reading
from unseg_d2.errors import UnsegError


class Totals(NamedTuple):
    """Counts of a label set of which some images are shown: images, instances on them, and images without any."""

    images: int
    instances: int
    empty: int


@dataclass(frozen=True)
class LabelView:
    """A label set and the name under which it is shown.

    Attributes:
        title: its name.
        dataset: the label set, or the images of it that are shown.
        whole: counts of the whole label set; ``None`` where ``dataset`` is all of it.
    """

    title: str
    dataset: CocoDataset
    whole: Totals | None = None

    @classmethod
    def of_some(cls, title: str, labels: AnnotationIndex, limit: int) -> LabelView:
        """Read the images of a label set that are shown, and no others.

        Args:
            title: its name.
            labels: the label set.
            limit: most images, evenly spaced over the set; 0 takes all.
        """
        counts = labels.counts()
        whole = Totals(len(labels), int(counts.sum()), int((counts == 0).sum()))
        images, annotations = [], list[dict[str, Any]]()
        for position in evenly_spaced(range(len(labels)), limit):
            images.append(labels.image(position))
            annotations += labels.annotations(position, images[-1])
        return cls(title, CocoDataset(images, annotations, labels.categories, labels.info, labels.joined), whole)

    @property
    def totals(self) -> Totals:
        """Counts of the whole label set."""
        if self.whole is not None:
            return self.whole
        images, annotations = self.dataset.images, self.dataset.annotations
        return Totals(len(images), len(annotations), len(images) - len({item["image_id"] for item in annotations}))

    @property
    def reading(self) -> Reading:
        """How the images were read when the labels were made, as far as their ``info`` tells."""
        settings = self.dataset.info.get("settings")
        changes = settings.get("INPUT") if isinstance(settings, dict) else None
        return Reading.of_changes(changes if isinstance(changes, dict) else {})


def evenly_spaced(items: Sequence[Any], limit: int) -> Sequence[Any]:
    """Return at most ``limit`` items, evenly spaced, in order; all for 0.

    >>> evenly_spaced(range(10), 4)
    [0, 2, 5, 7]
    """
    if limit <= 0 or len(items) <= limit:
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


@dataclass(frozen=True)
class ClassesApart:
    """Classes that a page tells apart.

    Attributes:
        names: of all classes, in the order of the label sets.
        numbers: place among the names of each category of each label set, by its id; empty for a set with one category;
            none at all where each set has one.
    """

    names: tuple[str, ...]
    numbers: tuple[Mapping[Any, int], ...]


def classes_apart(views: Sequence[LabelView]) -> ClassesApart:
    """Return the classes of label sets; those of one name are one class.

    Args:
        views: the label sets; of one whose annotations have ids that it does not list, the ids are names.
    """
    called = [_class_names(view.dataset) for view in views]
    if all(len(names) < 2 for names in called):
        return ClassesApart((), ())
    names = tuple(dict.fromkeys(name for of_set in called if len(of_set) > 1 for name in of_set.values()))
    places = {name: place for place, name in enumerate(names)}
    return ClassesApart(
        names,
        tuple({key: places[name] for key, name in of_set.items()} if len(of_set) > 1 else {} for of_set in called),
    )


def _class_names(dataset: CocoDataset) -> dict[Any, str]:
    """Return the name of each category that is listed or occurs, by its id."""
    listed = {category["id"]: str(category.get("name", category["id"])) for category in dataset.categories}
    present = dict.fromkeys(item["category_id"] for item in dataset.annotations if "category_id" in item)
    return listed | {key: str(key) for key in present if key not in listed}


def annotations_by_name(dataset: CocoDataset) -> dict[str, list[dict[str, Any]]]:
    """Group the annotations by the file name of their image; images without any are left out."""
    names = {image["id"]: image["file_name"] for image in dataset.images}
    grouped: dict[str, list[dict[str, Any]]] = {}
    for annotation in dataset.annotations:
        grouped.setdefault(names[annotation["image_id"]], []).append(annotation)
    return grouped


def read_labelled_image(root: Path, image: dict[str, Any], reading: Reading = DEFAULT_READING) -> np.ndarray:
    """Read an image of a label set.

    Args:
        root: folder that file names are relative to.
        image: its COCO entry.
        reading: how it was read when its labels were made, see :attr:`LabelView.reading`.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        UnsegError: it cannot be read, lies outside the folder, or has another size than the label set says.
    """
    pixels = read_image(resolve_image(root, image["file_name"]), reading)
    stated, found = (image.get("height"), image.get("width")), pixels.shape[:2]
    if None not in stated and stated != found:
        raise UnsegError(f"the image has {found[1]}x{found[0]} pixels, its annotations say {stated[1]}x{stated[0]}")
    return pixels
