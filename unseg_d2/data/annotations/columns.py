"""What is kept of each entry of a file: a few numbers, in columns.

Shape legend
    n   images
    m   annotations
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

Keys = np.ndarray | list[Any]
"""Ids: int64 where all are whole numbers, else what they are."""
Columns = TypeVar("Columns", "ImageColumns", "AnnotationColumns")

MASK, RUNS, SIZED, CROWD, SCORE, OUTSIDE, CONFIDENCE, ODD = (1 << bit for bit in range(8))
"""Flags of an annotation: it has a mask; the mask, or an empty one, is run lengths; they state a size; it is a crowd
region; it has a score; that lies outside [0, 1]; it has a spatial confidence; or what it holds can only be judged by
reading all of it."""
UNKNOWN = -1
"""Height or width of an image that is not known."""


@dataclass
class ImageColumns:
    """Of each image.

    Attributes:
        ids: of the images.
        names: ``(n,)`` int64, hash of the file name in the form in which names are compared.
        heights: ``(n,)`` int32 px.
        widths: ``(n,)`` int32 px.
        done: ``(n,)`` bool, whether a person has said that every object has its mask.
        starts: ``(n,)`` int64, first half of the address of the entry, see `Source`.
        extents: ``(n,)`` int32, second half.
    """

    ids: Keys
    names: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    done: np.ndarray
    starts: np.ndarray
    extents: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)


@dataclass
class AnnotationColumns:
    """Of each annotation.

    Attributes:
        image_ids: as stated.
        ids: as stated; ``None`` where one is missing.
        categories: ``(m,)`` int32, place in a list of what is stated.
        flags: ``(m,)`` uint8.
        granularities: ``(m,)`` float32 in (0, 1], 1 where none is stated.
        heights: ``(m,)`` int32 px, of the mask if it states its size.
        widths: ``(m,)`` int32 px.
        starts: ``(m,)`` int64, first half of the address.
        extents: ``(m,)`` int32, second half.
    """

    image_ids: Keys
    ids: Keys
    categories: np.ndarray
    flags: np.ndarray
    granularities: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    starts: np.ndarray
    extents: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)


def keys_of(values: list[Any]) -> Keys:
    """Return ids as int64 where all are whole numbers, else as they are."""
    if set(map(type, values)) != {int}:
        return values
    try:
        return np.array(values, np.int64)
    except OverflowError:
        return values


def taken(keys: Keys, rows: np.ndarray) -> Keys:
    """Return the ids of some rows."""
    return keys[rows] if isinstance(keys, np.ndarray) else [keys[row] for row in rows.tolist()]


def joined_keys(parts: Sequence[Keys]) -> Keys:
    """Return ids one part after another."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)
    return [key for part in parts for key in (part.tolist() if isinstance(part, np.ndarray) else part)]


def concatenated(kind: type[Columns], parts: list[Columns]) -> Columns:
    """Return columns one part after another; the list of parts is empty afterwards, which saves memory."""
    columns: dict[str, Any] = {}
    for field in fields(kind):
        values = [getattr(part, field.name) for part in parts]
        columns[field.name] = joined_keys(values) if "ids" in field.name else np.concatenate(values)
        for part in parts:
            setattr(part, field.name, None)
    parts.clear()
    return kind(**columns)


def rows_of(columns: ImageColumns, rows: np.ndarray) -> ImageColumns:
    """Return some rows of columns."""
    chosen: dict[str, Any] = {field.name: taken(getattr(columns, field.name), rows) for field in fields(columns)}
    return ImageColumns(**chosen)


def repeated(keys: Keys) -> bool:
    """Whether an id occurs twice."""
    if isinstance(keys, list):
        return len(set(keys)) < len(keys)
    ordered = keys if (np.diff(keys) > 0).all() else np.sort(keys)
    return bool((ordered[1:] == ordered[:-1]).any())


def positions_in(listed: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return where each number is in a list without repetitions, ``(m,)`` int64; -1 where it is not there."""
    if not len(listed):
        return np.full(len(wanted), -1, np.int64)
    order = None if (np.diff(listed) > 0).all() else np.argsort(listed, kind="stable")
    places = np.minimum(np.searchsorted(listed, wanted, sorter=order), len(listed) - 1)
    places = places if order is None else order[places]
    places[listed[places] != wanted] = -1
    return places
