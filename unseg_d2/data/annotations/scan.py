"""One pass over a file of annotations: each entry is parsed and checked, and what is kept of it are numbers.

Run lengths are not looked at; who decodes a mask checks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from unseg_d2.data.annotations.columns import (
    CONFIDENCE,
    CROWD,
    MASK,
    ODD,
    OUTSIDE,
    RUNS,
    SCORE,
    SIZED,
    UNKNOWN,
    AnnotationColumns,
    ImageColumns,
    concatenated,
    keys_of,
)
from unseg_d2.data.annotations.entries import Block, EntryReader, Irregular, without_collector
from unseg_d2.data.annotations.outlines import LEAST
from unseg_d2.data.annotations.parse import convert, plain
from unseg_d2.data.annotations.read import file_name_of, has_place, identity, is_confidence, is_foreign
from unseg_d2.data.annotations.structs import Annotation, Content, Identity, Image, Polygons, Size
from unseg_d2.errors import UnsegError
from unseg_d2.files import same_name
from unseg_d2.levels import counted_granularity

_DECODERS = {"images": msgspec.json.Decoder(Image, strict=False)}
_DECODERS |= {"annotations": msgspec.json.Decoder(Annotation, strict=False)}
_NO_SIZE = (UNKNOWN, UNKNOWN)
_TEXT, _EMPTY = b'"counts":"', b'"counts":""'


class _Runs(msgspec.Struct, gc=False):
    """Run lengths whose text is passed over."""

    counts: msgspec.Raw
    size: Size | None = None


class _Passed(Annotation, gc=False, kw_only=True):
    """An annotation whose run lengths are passed over."""

    segmentation: _Runs | Polygons | None = None  # type: ignore[assignment]


_PASSING = msgspec.json.Decoder(list[_Passed], strict=False)
_LISTS = {"images": msgspec.json.Decoder(list[Image], strict=False)}
_LISTS |= {"annotations": msgspec.json.Decoder(list[Annotation], strict=False)}


class Scan:
    """Collects the columns of a file.

    Args:
        where: begins messages.

    Attributes:
        categories: what annotations state as their category, each value once, in the order of their numbers.
    """

    def __init__(self, where: str = "") -> None:
        self.where = where
        self._images: list[ImageColumns] = [_image_columns([], np.zeros(0, np.int64), np.zeros(0, np.int32))]
        self._annotations: list[AnnotationColumns] = []
        self.categories: dict[Identity | None, int] = {}
        self.add_annotations([], np.zeros(0, np.int64), np.zeros(0, np.int32))

    def add_images(self, entries: Sequence[Image], starts: np.ndarray, extents: np.ndarray) -> None:
        """Add images and their addresses.

        Raises:
            UnsegError: one has no name, or an id with a fraction.
        """
        try:
            self._images.append(_image_columns(entries, starts, extents))
        except UnsegError as error:
            raise UnsegError(f"{self.where}{error}") from None

    def add_annotations(self, entries: Sequence[Annotation], starts: np.ndarray, extents: np.ndarray) -> None:
        """Add annotations and their addresses."""
        known = self.categories
        categories = [known.setdefault(entry.category_id, len(known)) for entry in entries]
        flags, heights, widths = _judged(entries)
        self._annotations.append(
            AnnotationColumns(
                keys_of([entry.image_id for entry in entries]) if entries else np.zeros(0, np.int64),
                keys_of([entry.id for entry in entries]) if entries else np.zeros(0, np.int64),
                np.array(categories, np.int32),
                np.array(flags, np.uint8),
                np.array([counted_granularity(entry.granularity) for entry in entries], np.float32),
                np.array(heights, np.int32),
                np.array(widths, np.int32),
                starts,
                extents,
            )
        )

    def columns(self) -> tuple[ImageColumns, AnnotationColumns]:
        """Return everything that was added; to be called once."""
        return concatenated(ImageColumns, self._images), concatenated(AnnotationColumns, self._annotations)


def scan_file(path: Path, kept: dict[str, list[Any]] | None = None) -> tuple[Scan, Content]:
    """Read a COCO file once.

    Args:
        path: the file.
        kept: gets all entries, a list under the key of each, for those who want all of them.

    Returns:
        Its columns, whose addresses are offset and length in bytes, or places in the lists that are kept; and the rest
        of the file, whose lists are empty.

    Raises:
        Irregular: it cannot be read in parts.
        UnsegError: it is a list, or a value is wrong.
    """
    scan, reader = Scan(f"{path}: "), EntryReader(path, tuple(_DECODERS))
    numbers = dict.fromkeys(_DECODERS, 1)
    for block in without_collector(reader):
        if not block.key:
            raise not_a_data_set(path)
        entries = _entries(block, numbers[block.key], str(path), whole=kept is not None)
        numbers[block.key] += len(entries)
        starts, extents = block.starts + block.offset, (block.ends - block.starts).astype(np.int32)
        if kept is not None:
            starts, extents = np.arange(len(entries)) + len(kept[block.key]), np.zeros(len(entries), np.int32)
            kept[block.key] += entries
        if block.key == "images":
            scan.add_images(entries, starts, extents)
            continue
        if any(entry.segments_info for entry in entries):
            raise Irregular("a panoptic file")
        scan.add_annotations(entries, starts, extents)
    if reader.skeleton.lstrip(b" \t\r\n").startswith(b"["):
        raise not_a_data_set(path)
    return scan, _rest(reader.skeleton, path)


def _rest(skeleton: bytes, path: Path) -> Content:
    try:
        return msgspec.json.decode(skeleton, type=Content, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = plain(skeleton, "")
    except UnsegError:
        raise Irregular("the file is not JSON") from None
    return convert(value, Content, f"{path}: ")


def not_a_data_set(path: Path) -> UnsegError:
    """Return the error about a file of results where a data set is needed."""
    return UnsegError(f"{path}: a list of results, but a data set with 'images' and 'annotations' is needed.")


def _entries(block: Block, first: int, where: str, *, whole: bool) -> list[Any]:
    """Return the entries of a block, if they are not wanted whole without their run lengths where these are texts.

    For messages `first` is the number of the first one in the file, and `where` the file.
    """
    run = block.run()
    decoder: msgspec.json.Decoder[Any] = _LISTS[block.key]
    if not whole and block.key == "annotations" and run.count(_TEXT) == len(block.starts) and _EMPTY not in run:
        decoder = _PASSING
    try:
        entries: list[Any] = decoder.decode(b"[" + run + b"]")
        if len(entries) == len(block.starts) and not block.may_share_lines():
            return entries
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    decode, entries = _DECODERS[block.key].decode, []
    for number, text in enumerate(block.texts(), first):
        try:
            entries.append(decode(text))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            entries.append(_explained(text, block.key, number, where))
    return entries


def _explained(text: bytes, key: str, number: int, where: str) -> Any:
    """Return an entry with values that nobody reads and that are not JSON (NaN), or say what is wrong with it."""
    try:
        value = plain(text, "")
    except UnsegError:
        raise Irregular("an entry is not JSON") from None
    lists: dict[str, list[Any]] = {"images": [], "annotations": []}
    content = convert(lists | {key: [value]}, Content, f"{where}: ", first=number)
    return getattr(content, key)[0]


def _image_columns(entries: Sequence[Image], starts: np.ndarray, extents: np.ndarray) -> ImageColumns:
    known = [(entry.height, entry.width) if entry.height and entry.width else _NO_SIZE for entry in entries]
    heights, widths = np.array(known, np.int32).reshape(-1, 2).T
    ids = keys_of([identity(entry.id) for entry in entries]) if entries else np.zeros(0, np.int64)
    names = np.array([hash(same_name(file_name_of(entry))) for entry in entries], np.int64)
    done = np.array([bool(entry.done) for entry in entries], bool)
    return ImageColumns(ids, names, heights.copy(), widths.copy(), done, starts, extents)


def _judged(entries: Sequence[Annotation]) -> tuple[list[int], list[int], list[int]]:
    """Return the flags of annotations, and height and width of their masks where they are stated."""
    all_flags, heights, widths = [], [], []
    for entry in entries:
        mask, box, confidence = entry.segmentation, entry.bbox, entry.confidence
        height = width = UNKNOWN
        is_box = box is not None and len(box) == 4 and box[2] > 0 and box[3] > 0
        if not mask:
            flags = 0 if is_box else ODD
        elif isinstance(mask, list):
            is_plain = is_box and _is_area(entry.area) and _are_flat(mask)
            flags = MASK if is_plain else MASK | ODD
        else:
            flags = MASK | RUNS if mask.counts else RUNS
            if box and not is_box and (not mask.counts or len(box) != 4):
                flags |= ODD
            if not box and not mask.counts:
                flags |= ODD
            if mask.size is not None:
                flags |= SIZED
                height, width = mask.size
        if entry.iscrowd:
            flags |= CROWD
        if entry.score is not None:
            flags |= SCORE if 0 <= entry.score <= 1 else SCORE | OUTSIDE
        if confidence is not None:
            flags |= CONFIDENCE if is_confidence(confidence) else ODD
        if has_place(entry) and is_foreign(entry):
            flags |= ODD
        all_flags.append(flags)
        heights.append(height)
        widths.append(width)
    return all_flags, heights, widths


def _is_area(stated: Any) -> bool:
    return isinstance(stated, (int, float)) and not isinstance(stated, bool) and stated >= 0


def _are_flat(polygons: Polygons) -> bool:
    """Whether these are polygons as COCO has them, each with enough corners."""
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < LEAST or len(polygon) % 2:
            return False
        if set(map(type, polygon)) != {float}:
            return False
    return True
