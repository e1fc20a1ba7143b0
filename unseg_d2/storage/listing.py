"""What an archive or a store holds, in few bytes a file: names in their order, and where the bytes of each are.

Shape legend
    n   files
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_ENCODING = ("utf-8", "surrogatepass")  # names that are no text have halves of characters
_AFTER_SLASH = b"0"  # the character after "/": what begins with a folder's name and it comes after the folder


@dataclass(frozen=True)
class Listing:
    """Files, sorted by name as their characters are numbered; it holds 24 bytes a file and the names.

    Attributes:
        names: all names, one after the other.
        ends: ``(n,)`` int64, where each name ends.
        places: ``(n,)`` int64: where the bytes begin in an archive, the row of a table, or when a file of a store was
            changed (seconds since the epoch).
        sizes: ``(n,)`` int64 bytes; -1 where that is not known before they are read.
        problems: name and reason of what is left out.
    """

    names: bytes
    ends: np.ndarray
    places: np.ndarray
    sizes: np.ndarray
    problems: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, files: Iterable[tuple[str, int, int]], problems: Iterable[tuple[str, str]] = ()) -> Listing:
        """Sort files ``(name, place, size)``; of several with one name the last counts, as when a tar is unpacked."""
        names, numbers = list[bytes](), array("q")
        for name, place, size in files:
            names.append(name.encode(*_ENCODING))
            numbers.extend((place, size))
        table = np.frombuffer(numbers, np.int64).reshape(-1, 2)
        order = sorted(range(len(names)), key=names.__getitem__)
        kept = [k for k, after in zip(order, [*order[1:], None]) if after is None or names[k] != names[after]]
        twice = [] if len(kept) == len(order) else _repeated(names, order)
        chosen = [names[k] for k in kept]
        ends = np.cumsum([len(name) for name in chosen], dtype=np.int64)
        places, sizes = table[kept].T if kept else np.zeros((2, 0), np.int64)
        return cls(b"".join(chosen), ends, places.copy(), sizes.copy(), [*problems, *twice])

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return (self.name(position) for position in range(len(self)))

    def name(self, position: int) -> str:
        """Return a name."""
        return self._encoded(position).decode(*_ENCODING)

    def find(self, name: str) -> int | None:
        """Return the position of a name, ``None`` where it is not there."""
        encoded = name.encode(*_ENCODING)
        position = self._first(encoded)
        return position if position < len(self) and self._encoded(position) == encoded else None

    def below(self, folder: str) -> range:
        """Return the positions of the files below a folder; an empty name stands for all."""
        if not folder:
            return range(len(self))
        encoded = folder.encode(*_ENCODING)
        return range(self._first(encoded + b"/"), self._first(encoded + _AFTER_SLASH))

    def children(self, folder: str) -> list[str]:
        """Return the names of files and folders in a folder, without those in its sub-folders."""
        found, places = [], self.below(folder)
        start, position = len(folder.encode(*_ENCODING)) + 1 if folder else 0, places.start
        while position < places.stop:
            encoded = self._encoded(position)
            child, slash, _ = encoded[start:].partition(b"/")
            found.append(child.decode(*_ENCODING))
            position = self._first(encoded[:start] + child + _AFTER_SLASH) if slash else position + 1
        return found

    def arrays(self) -> dict[str, Any]:
        """Return the columns, from which `Listing` can be made again."""
        names = np.frombuffer(self.names, np.uint8)
        return {"names": names, "ends": self.ends, "places": self.places, "sizes": self.sizes}

    def _encoded(self, position: int) -> bytes:
        return self.names[int(self.ends[position - 1]) if position else 0 : int(self.ends[position])]

    def _first(self, encoded: bytes) -> int:
        """Return the position of the first name that is not below another."""
        return bisect_left(range(len(self)), encoded, key=self._encoded)


def _repeated(names: list[bytes], order: list[int]) -> list[tuple[str, str]]:
    pairs = itertools.pairwise(order)
    return [
        (names[first].decode(*_ENCODING), "another file of this name follows in the archive, which counts")
        for first, second in pairs
        if names[first] == names[second]
    ]
