"""One pass over files of lines that hold an image with its annotations each, as the shards of a label set do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from unseg_d2.data.annotations.columns import Keys, joined_keys, keys_of, repeated
from unseg_d2.data.annotations.entries import Irregular
from unseg_d2.data.annotations.parse import parse
from unseg_d2.data.annotations.scan import Scan
from unseg_d2.data.annotations.sources import Files
from unseg_d2.data.annotations.structs import Annotation, Identity, Image


class LineAnnotation(Annotation, gc=False, kw_only=True):
    """An annotation of the image of its line; a label set has one class."""

    image_id: Identity | None = None  # type: ignore[assignment]
    category_id: Identity | None = 1


class LineImage(Image, gc=False, kw_only=True):
    """A line: an image with its annotations, or the reason why it could not be used."""

    file_name: str
    annotations: list[LineAnnotation] | None = None
    failure: str | None = None

    def owned(self) -> list[LineAnnotation]:
        """Return the annotations with the id of their image."""
        for annotation in self.annotations or ():
            annotation.image_id = self.id
        return self.annotations or []


class LineSource:
    """Entries of lines: an address is the number of the line, and the place of the annotation in it.

    Args:
        files: with the lines.
        starts: ``(n,)`` int64, where each line begins in them.
        lengths: ``(n,)`` int32, bytes.
    """

    def __init__(self, files: Files, starts: np.ndarray, lengths: np.ndarray) -> None:
        self.files, self.starts, self.lengths = files, starts, lengths

    def image(self, start: int, extent: int) -> Image:
        """Return the image of a line."""
        return self._line(start)

    def images(self, starts: np.ndarray, extents: np.ndarray) -> Sequence[Image]:
        """Return the images of lines."""
        return [self._line(number) for number in starts.tolist()]

    def annotations(self, starts: np.ndarray, extents: np.ndarray) -> Sequence[Annotation]:
        """Return annotations; each line is read once."""
        lines = {number: self._line(number).owned() for number in np.unique(starts).tolist()}
        return [lines[number][place] for number, place in zip(starts.tolist(), extents.tolist())]

    def _line(self, number: int) -> LineImage:
        start = int(self.starts[number])
        text = self.files.read(start, int(self.lengths[number]))
        return parse(text, LineImage, str(self.files.path_of(start)), "a line")


def scan_lines(files: Files, lengths: Sequence[int], where: str) -> tuple[Scan, LineSource, list[int]]:
    """Read files of lines once.

    Args:
        files: of lines.
        lengths: number of lines that each should have.
        where: begins messages.

    Returns:
        The columns of the images that could be used, where the entries are, and the number of annotations of each.

    Raises:
        Irregular: a file is damaged, or a line holds something else than it should.
    """
    scan, decode = Scan(where), msgspec.json.Decoder(LineImage, strict=False).decode
    places: list[np.ndarray] = []
    keys: list[Keys] = []
    counts: list[int] = []
    number = 0
    for path, offset, expected in zip(files.paths, files.starts.tolist(), lengths):
        ends = _ends(path, offset)
        if len(ends) - 1 != expected:
            raise Irregular("a shard has too few or too many lines")
        places.append(np.stack([ends[:-1], np.diff(ends)]))
        lines: list[tuple[int, LineImage]] = []
        ids = []
        with path.open("rb") as file:
            for text in file:
                try:
                    line = decode(text)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    raise Irregular("a line of a shard is damaged") from None
                ids.append(line.id)
                if line.failure is None:
                    lines.append((number, line))
                number += 1
        keys.append(keys_of(ids))
        counts += _add(scan, lines)
    if repeated(joined_keys(keys)):
        raise Irregular("an image occurs twice")
    starts, extents = np.concatenate(places, axis=1) if places else np.zeros((2, 0), np.int64)
    return scan, LineSource(files, starts, extents.astype(np.int32)), counts


def _add(scan: Scan, lines: Sequence[tuple[int, LineImage]]) -> list[int]:
    """Add lines with their numbers; return the number of annotations of each."""
    if any(not (line.height and line.width) for _, line in lines):
        raise Irregular("a line has neither a failure nor a size")
    numbers = np.array([number for number, _ in lines], np.int64)
    scan.add_images([line for _, line in lines], numbers, np.zeros(len(lines), np.int32))
    owned: list[Any] = [line.owned() for _, line in lines]
    counts = [len(found) for found in owned]
    places = [np.arange(count, dtype=np.int32) for count in counts]
    scan.add_annotations(
        list(chain.from_iterable(owned)), np.repeat(numbers, counts), np.concatenate([np.zeros(0, np.int32), *places])
    )
    return counts


def _ends(path: Path, offset: int) -> np.ndarray:
    """Return where the lines of a file begin and end, counted from an offset on."""
    values = np.frombuffer(path.read_bytes(), np.uint8)
    ends = np.flatnonzero(values == ord("\n")) + 1
    whole = ends if not len(values) or (len(ends) and ends[-1] == len(values)) else np.append(ends, len(values))
    return offset + np.concatenate([[0], whole]).astype(np.int64)
