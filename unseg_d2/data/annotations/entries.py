"""The entries of the long lists in a JSON file, found without holding more than a few megabytes of it.

A file of annotations is a short object around lists of millions of entries. This module finds where the entries begin
and end: by lines where each has its own, as in the files that this package writes, and by brackets elsewhere. What is
in them is parsed, and thereby checked, by those who take them.

Shape legend
    n   entries of a block
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import msgspec
import numpy as np

CHUNK = 1 << 19
"""Bytes that are read at once, few enough for the cache; an entry that is longer makes the chunk longer."""

_QUOTE, _BACKSLASH, _BRACKET, _BRACE, _END, _COMMA, _NEWLINE = b'"\\[{},\n'
_IS_STRUCTURAL = bytes(byte in b'"\\{}[]' for byte in range(256))
_STEP = np.array([(byte in b"{[") - (byte in b"}]") for byte in range(256)], dtype=np.int8)
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:\s*', re.DOTALL)
_BLANK = b" \t\r\n"
_NONE = np.zeros(0, dtype=np.int64)
_QUOTE_OR_NEWLINE = np.frombuffer(b'"\n', np.uint8)
_SPACES = np.frombuffer(_BLANK, np.uint8)


Item = TypeVar("Item")


class Irregular(Exception):
    """The file is damaged, or not of the form that can be split; to parse it as a whole says why."""


class CutOff(Irregular):
    """The file ends within a list; whoever parses it as a whole needs all of it in memory to say so."""


@dataclass(frozen=True)
class Block:
    """Entries that follow one another in a list of a file.

    Attributes:
        key: of the list; empty where the file is a list.
        data: a part of the file.
        offset: of this part in the file, bytes.
        starts: ``(n,)`` int64, where each entry begins in the part, bytes.
        ends: ``(n,)`` int64, where each ends.
        by_lines: whether the entries were found by lines, and not by brackets.
    """

    key: str
    data: bytes
    offset: int
    starts: np.ndarray
    ends: np.ndarray
    by_lines: bool = False

    def run(self) -> bytes:
        """Return all entries, with the commas between them."""
        return self.data[int(self.starts[0]) : int(self.ends[-1])]

    def may_share_lines(self) -> bool:
        """Return whether an object may follow another one on a line, or lie over several, where lines were looked at.

        Then entries have to be parsed one by one to be sure of their limits.
        """
        if not self.by_lines:
            return False
        values = np.frombuffer(self.data, np.uint8)[int(self.starts[0]) : int(self.ends[-1])]
        after = np.flatnonzero(values[:-2] == _END) + 1
        nexts = values[after]
        inner = (nexts == _COMMA) & ~np.isin(values[after + 1], _QUOTE_OR_NEWLINE)
        return bool(inner.any() or np.isin(nexts, _SPACES).any())

    def texts(self) -> Iterator[bytes]:
        """Yield each entry. Whether it is JSON, and one value only, is for the caller to check."""
        for start, end in zip(self.starts.tolist(), self.ends.tolist()):
            yield self.data[start:end]


class Repeated(Irregular):
    """A list occurs twice under one key, of which readers of JSON would take the last only."""


class EntryReader:
    """Yields the entries of some lists of a JSON file, block by block; what is left of the file is its skeleton.

    Args:
        path: the file.
        keys: of the lists at the top of the file that are split; a file that is itself a list is split in any case.
        chunk: bytes read at once.

    Attributes:
        skeleton: after all blocks were taken: the file without the entries, as JSON that has not been checked.
    """

    def __init__(self, path: str | Path, keys: Sequence[str], chunk: int = CHUNK) -> None:
        self.path, self.keys, self.chunk = Path(path), frozenset(keys), chunk
        self.skeleton = b""

    def __iter__(self) -> Iterator[Block]:
        """Read the file once.

        Raises:
            Irregular: it cannot be split.
            OSError: it cannot be read.
        """
        with self.path.open("rb") as file:
            window, skeleton, seen = _Window(file, self.chunk), bytearray(), set[str]()
            while (key := window.next_list(self.keys, skeleton)) is not None:
                if key in seen:
                    raise Repeated(key)
                seen.add(key)
                yield from window.entries(key)
            self.skeleton = bytes(skeleton)


class _Structure(NamedTuple):
    """Positions in a part of a file, int64: quotes around texts, and brackets outside them with their depths."""

    quotes: np.ndarray
    brackets: np.ndarray
    depths: np.ndarray
    """After each bracket."""
    steps: np.ndarray
    """1 for a bracket that opens, -1 for one that closes."""

    @classmethod
    def of(cls, data: bytes, depth: int) -> _Structure:
        """Find them in a part that begins outside texts and at a depth."""
        values = np.frombuffer(data, np.uint8)
        positions = np.flatnonzero(np.frombuffer(data.translate(_IS_STRUCTURAL), bool))
        kinds = values[positions]
        is_quote, is_backslash = kinds == _QUOTE, kinds == _BACKSLASH
        is_quote[_escaped(positions, is_quote, is_backslash)] = False
        outside = np.cumsum(is_quote) % 2 == 0
        brackets = positions[outside & ~is_backslash & (kinds != _QUOTE)]
        steps = _STEP[values[brackets]]
        return cls(positions[is_quote], brackets, depth + np.cumsum(steps, dtype=np.int64), steps)


def _escaped(positions: np.ndarray, is_quote: np.ndarray, is_backslash: np.ndarray) -> list[int]:
    """Return which quotes stand after an odd number of backslashes."""
    follows = np.flatnonzero(is_quote[1:] & is_backslash[:-1] & (np.diff(positions) == 1)) + 1
    escaped = []
    for quote in follows.tolist():
        first = quote - 1
        while first and is_backslash[first - 1] and positions[first] - positions[first - 1] == 1:
            first -= 1
        if (quote - first) % 2:
            escaped.append(quote)
    return escaped


class _Window:
    """The part of a file from where the reader is: outside texts, and at a known depth of brackets."""

    def __init__(self, file: BinaryIO, chunk: int) -> None:
        self.file, self.chunk = file, chunk
        data = file.read(chunk)
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Irregular("the file is in UTF-16")
        mark = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        self._set(data[mark:], mark, 0)
        self.is_start = True

    def _set(self, data: bytes, offset: int, depth: int) -> None:
        self.data, self.offset, self.depth = data, offset, depth
        self.values = np.frombuffer(data, np.uint8)
        self.found: _Structure | None = None

    def _structure(self) -> _Structure:
        self.found = self.found or _Structure.of(self.data, self.depth)
        return self.found

    def _take(self, until: int, depth: int) -> bytes:
        """Return what lies before a position and move there."""
        taken = self.data[:until]
        self._set(self.data[until:], self.offset + until, depth)
        self.is_start = self.is_start and not taken.strip(_BLANK)
        return taken

    def _read(self) -> bool:
        """Add the next part of the file; ``False`` at its end."""
        more = self.file.read(max(self.chunk, len(self.data)))  # a long entry is looked at a few times only
        self._set(self.data + more, self.offset, self.depth)
        return bool(more)

    def next_list(self, keys: frozenset[str], skeleton: bytearray) -> str | None:
        """Move into the next list that is split and return its key, ``None`` at the end of the file.

        Args:
            keys: of the lists that are split.
            skeleton: gets what was passed.
        """
        while True:
            opened = self._opened(keys)
            if opened is not None:
                key, until = opened
                skeleton += self._take(until, 2 if key else 1)
                return key
            structure = self._structure()
            back = np.flatnonzero((structure.depths <= 1) & (structure.steps < 0))
            if len(back):
                skeleton += self._take(int(structure.brackets[back[-1]]) + 1, int(structure.depths[back[-1]]))
            if not self._read():
                skeleton += self.data
                return None

    def _opened(self, keys: frozenset[str]) -> tuple[str, int] | None:
        """Return the key of the first list here that is split, and the position after its bracket."""
        structure = self._structure()
        opening = np.flatnonzero((self.values[structure.brackets] == _BRACKET) & (structure.depths <= 2))
        for number in opening.tolist():
            position = int(structure.brackets[number])
            if structure.depths[number] == 1:
                return ("", position + 1) if self.is_start and not self.data[:position].strip(_BLANK) else None
            key = self._key_before(position)
            if key in keys:
                return key, position + 1
        return None

    def _key_before(self, position: int) -> str:
        """Return the key whose value begins at a position; the two quotes before it are its own."""
        quotes = self._structure().quotes
        last = int(np.searchsorted(quotes, position))
        found = _KEY.fullmatch(self.data[int(quotes[last - 2]) : position]) if last >= 2 else None
        try:
            return msgspec.json.decode(b'"' + found[1] + b'"', type=str) if found else ""
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""

    def entries(self, key: str) -> Iterator[Block]:
        """Yield the entries of the list that we are in, and move to its end.

        Raises:
            Irregular: there is something else than objects and commas in it, or it does not end.
        """
        comma: bytes | None = None  # that must stand before the next entry, b"" where it was taken already
        while True:
            starts, ends = self._lines() if comma != b"," else (_NONE, _NONE)
            if len(ends):
                yield Block(key, self.data, self.offset, starts, ends, by_lines=True)
                self._take(int(ends[-1]) + 1, self.depth)
                comma = b""
                if self._read():
                    continue
            starts, ends, closing = self._objects()
            if len(ends):
                self._check_between(0, int(starts[0]), comma or b"")
                for end, start in zip(ends[:-1].tolist(), starts[1:].tolist()):
                    self._check_between(end, start, b",")
                yield Block(key, self.data, self.offset, starts, ends)
                comma = b","
            after = int(ends[-1]) if len(ends) else 0
            if closing is not None:
                self._check_between(after, closing, b"")
                if comma == b"":
                    raise Irregular(f"the list {key} ends with a comma")
                self._take(closing, self.depth)
                return
            self._take(after, self.depth)
            if not self._read():
                raise CutOff(key)

    def _lines(self) -> tuple[np.ndarray, np.ndarray]:
        """Return starts and ends of the lines that hold an entry each, as far as they follow one another from here."""
        newlines = np.flatnonzero(self.values == _NEWLINE)
        blank = len(self.data) - len(self.data.lstrip(_BLANK))
        newlines = newlines[np.searchsorted(newlines, blank) :]
        if not len(newlines):
            return _NONE, _NONE
        starts = np.append(blank, newlines[:-1] + 1)
        is_entry = (self.values[starts] == _BRACE) & (newlines - starts >= 3)
        is_entry &= (self.values[newlines - 1] == _COMMA) & (self.values[newlines - 2] == _END)
        number = len(is_entry) if is_entry.all() else int(is_entry.argmin())
        return starts[:number], newlines[:number] - 1

    def _objects(self) -> tuple[np.ndarray, np.ndarray, int | None]:
        """Return starts and ends of the whole objects of the list that we are in, and where the list is closed."""
        structure = self._structure()
        closing = np.flatnonzero(structure.depths < self.depth)
        brackets, depths, steps = (part[: closing[0]] if len(closing) else part for part in structure[1:])
        ends = brackets[(depths == self.depth) & (steps < 0)] + 1
        starts = brackets[(depths == self.depth + 1) & (steps > 0)][: len(ends)]
        return starts, ends, int(structure.brackets[closing[0]]) if len(closing) else None

    def _check_between(self, start: int, end: int, wanted: bytes) -> None:
        """Refuse entries that are no objects, and commas too many or too few."""
        if self.data[start:end].strip(_BLANK) != wanted:
            raise Irregular("an entry of a list is not an object")


def without_collector(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items while Python does not search for cycles among millions of new objects; there are none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield from items
    finally:
        if enabled:
            gc.enable()
