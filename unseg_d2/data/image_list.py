"""The images of a data set without their annotations, in few bytes each: what running a detector needs of records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

from unseg_d2.data.records import Category, Records

_UNKNOWN = -1
_ENCODING = ("utf-8", "surrogatepass")  # names that are no text have halves of characters


class ImageList(Sequence[dict[str, Any]]):
    """A read-only list of ``{file_name, image_id}`` and, where they are known, ``height`` and ``width`` in px.

    It is small to hold and to hand to other processes: besides the name about 30 bytes per image.

    Args:
        records: Detectron2's standard dataset dicts; what else they hold is left out.
        categories: that class numbers stand for; by default those of the records, where they have any.
    """

    def __init__(self, records: Iterable[dict[str, Any]], categories: Sequence[Category] | None = None) -> None:
        self.categories = list(_found(records) if categories is None else categories)
        names, ends, ids, sides = bytearray(), [], [], []
        for record in records.images() if isinstance(records, Records) else records:
            names += record["file_name"].encode(*_ENCODING)
            ends.append(len(names))
            ids.append(record["image_id"])
            sides += [record.get("height") or _UNKNOWN, record.get("width") or _UNKNOWN]
        self._names, self._ends = bytes(names), np.array(ends, np.int64)
        self._ids, self._sides = _compact(ids), np.array(sides, np.int32).reshape(-1, 2)

    def category_ids(self) -> list[Any] | int:
        """Return the id of each class's category; 1, that of the only one, where all are of one class."""
        return [category["id"] for category in self.categories] or 1

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """Return an image, or a list of those of a slice."""
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        name = self._names[int(self._ends[position - 1]) if position else 0 : int(self._ends[position])]
        key = self._ids[position]
        image = {"file_name": name.decode(*_ENCODING), "image_id": int(key) if isinstance(key, np.integer) else key}
        height, width = self._sides[position].tolist()
        return image | {key: side for key, side in (("height", height), ("width", width)) if side != _UNKNOWN}


def _found(records: Iterable[dict[str, Any]]) -> Sequence[Category]:
    """Return the categories that a detector's class numbers stand for, where records have any."""
    if isinstance(records, Records):
        return records.found
    return records.categories if isinstance(records, ImageList) else ()


def _compact(ids: list[Any]) -> Sequence[Any] | np.ndarray:
    """Return ids as an array, if all are numbers that fit; else as they are."""
    fits = all(type(key) is int and -(1 << 63) <= key < 1 << 63 for key in ids)
    return np.array(ids, np.int64) if fits else ids
