"""Classes of a data set: which number a network has for each of the file's categories.

A class-agnostic detector, of one class, takes all annotations as that class, whatever their categories. One of several
classes numbers the categories of the file from 0 on, in the order of their ids, as Detectron2 does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.coco import CocoDataset, read_json
from unseg_d2.data.records import Category
from unseg_d2.description import read_description
from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json

FILE = "classes.json"
"""Beside the checkpoints of a detector of several classes: the categories that its classes stand for, in order."""
OF_THE_DATA = 0
"""In place of a number of classes: those of the data set, whatever the detector's."""


def categories_of(dataset: CocoDataset | AnnotationIndex, num_classes: int, name: str) -> list[Category]:
    """Return the categories of a file in the order of the class numbers; an empty list for a single class.

    Args:
        dataset: what `read_coco` or `open_coco` returned.
        num_classes: of the detector; 1 takes all categories as one class, `OF_THE_DATA` those of the file.
        name: of the data set, for the message.

    Raises:
        UnsegError: the file has another number of categories, or annotations of a category that it does not list.
    """
    if num_classes == 1:
        return []
    categories = sorted(({"id": c["id"], "name": str(c.get("name", c["id"]))} for c in dataset.categories), key=_by_id)
    known = {category["id"] for category in categories}
    if num_classes != OF_THE_DATA and (len(known) != num_classes or len(categories) != num_classes):
        raise wrong_number(name, len(known), num_classes)
    strange = sorted(str(key) for key in present_categories(dataset) - known)
    if strange:
        raise UnsegError(f"{name} has annotations of category {', '.join(strange[:3])}, which it does not list.")
    return categories


def present_categories(dataset: CocoDataset | AnnotationIndex) -> set[Any]:
    """Return the ids of the categories that annotations have."""
    if isinstance(dataset, AnnotationIndex):
        return dataset.present
    return {annotation["category_id"] for annotation in dataset.annotations}


def wrong_number(name: str, found: int, num_classes: int) -> UnsegError:
    """Return the error about a data set with another number of categories than the detector has classes."""
    return UnsegError(
        f"{name} has {found} categor{'y' if found == 1 else 'ies'}, but MODEL.ROI_HEADS.NUM_CLASSES is {num_classes}; "
        f"set it to {found}, or to 1 for a class-agnostic detector."
    )


def check_records(records: Sequence[dict[str, Any]], num_classes: int) -> None:
    """Raise `UnsegError` where an annotation has no class number below ``num_classes``."""
    for record in records:
        for annotation in record.get("annotations", ()):
            if not 0 <= annotation.get("category_id", 0) < num_classes:
                raise UnsegError(
                    f"An annotation of {record['file_name']} has the class number {annotation['category_id']}, but "
                    f"MODEL.ROI_HEADS.NUM_CLASSES is {num_classes}: the numbers run from 0 to {num_classes - 1}."
                )


def check_same(first: Sequence[Category], second: Sequence[Category], names: tuple[str, str]) -> None:
    """Raise `UnsegError` where two data sets mean different classes by a number; they are told by their names.

    Args:
        first, second: the categories, in the order of the class numbers.
        names: of the two, for the message.
    """
    pairs = [(one["name"], other["name"]) for one, other in zip(first, second)]
    different = next((number for number, (one, other) in enumerate(pairs) if one != other), None)
    if different is None and len(first) != len(second):
        raise UnsegError(f"{names[0]} has {len(first)} classes, but {names[1]} has {len(second)}.")
    if different is not None:
        one, other = pairs[different]
        raise UnsegError(f"Class {different} is '{one}' in {names[0]}, but '{other}' in {names[1]}.")


def write_classes(folder: str | Path, categories: Sequence[Category]) -> None:
    """Write the classes of a detector beside its checkpoints; nothing for a single class."""
    if categories:
        write_json(Path(folder) / FILE, list(categories), indent=1)


def read_classes(weights: str | Path) -> list[Category]:
    """Return the classes of a checkpoint: those that it records or, of earlier versions, those written beside it.

    Args:
        weights: file; that of a name in the zoo records none.

    Returns:
        The categories in the order of the class numbers, an empty list where there are none.

    Raises:
        UnsegError: the file beside it is damaged.
    """
    if not Path(weights).is_file():
        return []
    try:
        recorded = read_description(weights).classes
    except UnsegError:  # it needs trust or is damaged; whoever loads it says so
        recorded = []
    return list(recorded) or read_written(Path(weights).parent)


def read_written(folder: str | Path) -> list[Category]:
    """Return what :func:`write_classes` wrote into a folder, an empty list where it wrote nothing.

    Raises:
        UnsegError: the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return []
    categories = read_json(path)
    if not isinstance(categories, list) or not all(
        isinstance(c, dict) and {"id", "name"} <= set(c) for c in categories
    ):
        raise UnsegError(f"{path} is not a list of categories with 'id' and 'name'; delete it to continue without it.")
    return categories


def _by_id(category: Category) -> tuple[bool, Any]:
    return isinstance(category["id"], str), category["id"]
