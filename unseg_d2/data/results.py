"""COCO results on disk: a JSON list of detections, each with the id of its image.

Shape legend
    g   groups: results of one image that follow one another in the file
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.entries import Block, EntryReader, Irregular
from unseg_d2.data.annotations.masks import Unusable, box_of, check_run_lengths, outline, stated_box
from unseg_d2.data.annotations.parse import convert, parse, quoted, read_bytes
from unseg_d2.data.annotations.read import identity
from unseg_d2.data.annotations.structs import Result, RunLengths
from unseg_d2.errors import UnsegError

BATCH = 2_000
"""Results that are decoded at once where all are read in order."""

_BLANK = b"\xef\xbb\xbf \t\r\n"  # what may stand before the first bracket
_DECODER = msgspec.json.Decoder(list[Result], strict=False)
_Groups = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # code, offset, length, number, count


class ResultsIndex:
    """Where the results of each image stand in a file; they are decoded, and their masks checked, on every use.

    What is held is five numbers for each group and the ids of the images. The file may be replaced meanwhile, as files
    that are written with `unseg_d2.files.atomic_write` are: the index keeps the one that it has read.

    Args:
        path: the file.
        min_score: results with a lower score are left out; those without one stay.

    Attributes:
        path: the file.
        image_ids: of all images, in the order of their first result; those whose results are all left out come last.
        has_masks: whether a result that was not left out has a mask.

    Raises:
        UnsegError: the file is missing or damaged, or holds something else: the message names the result and the field.
    """

    def __init__(self, path: str | Path, *, min_score: float | None = None) -> None:
        self.path, self.has_masks = Path(path), False
        self._min_score, self._whole = min_score, None
        self._counts, self._codes = Counts(), dict[Any, int]()
        self._check_list()
        self._file = self.path.open("rb")
        weakref.finalize(self, self._file.close)
        try:
            groups = list(self._blocks())
        except Irregular:  # damaged, or JSON of another form; to parse it as a whole says which
            self._counts, self._codes = Counts(), {}
            self._whole = parse(read_bytes(self.path), list[Result], str(self.path))
            positions = np.arange(len(self._whole))
            groups = [self._grouped(self._whole, 1, positions, positions + 1)]
        columns = [np.concatenate(part) for part in zip(*groups)] or [np.zeros(0, np.int64)] * 5
        self._code, self._offset, self._length, self._number, self._count = columns
        self._sort()
        self._counts.say(self.path)

    def __len__(self) -> int:
        """Number of results that were not left out."""
        return int(self._count.sum())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield all results in the order of the file; see `of_image`."""
        groups: list[int] = []
        size = 0
        for group, count in enumerate(self._count.tolist()):
            groups.append(group)
            size += count
            if size >= BATCH:
                yield from self._decoded(groups)
                groups, size = [], 0
        yield from self._decoded(groups)

    def of_image(self, *image_ids: Any) -> list[dict[str, Any]]:
        """Return the results of an image, in the order of the file.

        Args:
            *image_ids: ids that mean this image; there may be no results of it.

        Returns:
            ``{image_id, category_id, bbox (XYWH, px)}`` each and, where there are any, ``score`` and ``segmentation``:
            compressed run lengths or polygons. A missing box follows from the mask.

        Raises:
            UnsegError: a mask is damaged: the message names the result.
        """
        return self._decoded(self._groups_of(image_ids))

    def of_images(self, image_ids: Iterable[Any]) -> Iterator[list[dict[str, Any]]]:
        """Yield the results of each of some images; to check their masks together takes less time; see `of_image`."""
        groups = [self._groups_of([key]) for key in image_ids]
        found = iter(self._decoded([group for of_image in groups for group in of_image]))
        return (list(islice(found, int(self._count[of_image].sum()))) for of_image in groups)

    def _check_list(self) -> None:
        """Refuse what is not a list at all before its end is looked for."""
        try:
            with self.path.open("rb") as file:
                begins = file.read(100).lstrip(_BLANK)[:1]
        except OSError:
            read_bytes(self.path)  # says in a sentence what is wrong
            raise
        if begins == b"{":
            raise UnsegError(f"{self.path} is not a list of COCO results: it is an object with keys.")

    def _blocks(self) -> Iterator[_Groups]:
        """Yield the groups of each part of the file, in its order."""
        number, reader = 1, EntryReader(self.path, ())
        for block in reader:
            entries = self._entries(block, number)
            yield self._grouped(entries, number, block.starts + block.offset, block.ends + block.offset)
            number += len(entries)
        if reader.skeleton.strip(_BLANK).replace(b" ", b"") != b"[]":
            raise Irregular("there is something beside the list")

    def _entries(self, block: Block, number: int) -> Sequence[Result]:
        """Parse the entries of a block, of which the first has a number.

        Raises:
            Irregular: an entry is not JSON.
            UnsegError: a field holds something else than it should.
        """
        try:
            entries = _DECODER.decode(b"[" + block.data[int(block.starts[0]) : int(block.ends[-1])] + b"]")
            if len(entries) == len(block.starts):
                return entries
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        parsed = []
        for at, text in enumerate(block.texts(), number):
            try:
                content = parse(text, Any, "")
            except UnsegError as error:
                raise Irregular(f"result {at} is not JSON") from error
            parsed.append(convert(content, Result, f"{self.path}: ", f"result {at}"))
        return parsed

    def _grouped(self, entries: Sequence[Result], number: int, starts: np.ndarray, ends: np.ndarray) -> _Groups:
        """Check entries and return their groups.

        Args:
            entries: that follow one another in the file.
            number: of the first, counted from 1.
            starts: where each begins in the file.
            ends: where each ends.
        """
        codes = np.array([self._code_of(entry, at) for at, entry in enumerate(entries, number)], np.int64)
        first = np.flatnonzero(np.append(True, codes[1:] != codes[:-1])[: len(codes)])
        last = np.append(first[1:], len(codes)) - 1
        kept = codes[first] >= 0
        first, last = first[kept], last[kept]
        return codes[first], starts[first], ends[last] - starts[first], number + first, last - first + 1

    def _code_of(self, entry: Result, number: int) -> int:
        """Return the number of the image of a result; a negative one if the result is left out."""
        key, has_mask = entry.image_id, entry.segmentation is not None
        if type(key) is float or not _is_plain(entry):
            result = _result(entry, self._counts, f"{self.path}: result {number}")
            key, has_mask = result["image_id"], "segmentation" in result
        code = self._codes.setdefault(key, len(self._codes))
        if self._min_score is not None and entry.score is not UNSET and entry.score < self._min_score:
            return -1
        self.has_masks = self.has_masks or has_mask
        return code

    def _sort(self) -> None:
        """Arrange the groups by image, and the images by their first group."""
        self._by_code = np.argsort(self._code, kind="stable")
        self._ends = np.cumsum(np.bincount(self._code, minlength=len(self._codes)))
        keys, (codes, first) = list(self._codes), np.unique(self._code, return_index=True)
        there = codes[np.argsort(first)].tolist()
        self.image_ids = [keys[code] for code in there]
        if len(there) < len(keys):
            self.image_ids += [keys[code] for code in np.setdiff1d(np.arange(len(keys)), codes).tolist()]

    def _groups_of(self, image_ids: Iterable[Any]) -> list[int]:
        """Return the groups of an image of several ids, in the order of the file."""
        groups: list[int] = []
        for code in (self._codes[key] for key in image_ids if key in self._codes):
            groups += self._by_code[int(self._ends[code - 1]) if code else 0 : int(self._ends[code])].tolist()
        return sorted(groups)

    def _decoded(self, groups: Sequence[int]) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        numbers: list[int] = []
        for group in groups:
            first = int(self._number[group])
            for number, entry in enumerate(self._parsed(group), first):
                results.append(_result(entry, Counts(), f"{self.path}: result {number}"))
                numbers.append(number)

        def name(at: int) -> str:
            return f"{self.path}: the mask of result {numbers[at]} (image {quoted(results[at]['image_id'])})"

        check_run_lengths(results, name)
        for result in results:
            if "bbox" not in result:
                result["bbox"] = box_of(Result(image_id=0), result["segmentation"], None, None)
        return results

    def _parsed(self, group: int) -> Sequence[Result]:
        if self._whole is not None:
            start = int(self._offset[group])
            return self._whole[start : start + int(self._count[group])]
        self._file.seek(int(self._offset[group]))
        text = b"[" + self._file.read(int(self._length[group])) + b"]"
        try:
            return _DECODER.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return parse(text, list[Result], str(self.path))


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read a file of COCO results into memory; see `ResultsIndex`, also for what each of them holds.

    Raises:
        UnsegError: the file is missing or damaged, or holds something else: the message names the result and the field.
    """
    return list(ResultsIndex(path))


def read_result_list(path: Path) -> list[dict[str, Any]] | None:
    """Return the content of a file of COCO results, ``None`` if it is a label set or not JSON.

    Raises:
        UnsegError: it is a damaged list, or a list of something else.
    """
    return read_results(path) if is_result_list(path) else None


def is_result_list(path: Path) -> bool:
    """Return whether a file begins like a list of COCO results; a label set or what is not JSON does not.

    Raises:
        UnsegError: it cannot be read.
    """
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(100).lstrip(_BLANK).startswith(b"[")
    except OSError as error:
        raise UnsegError(f"{path} cannot be read: {error.strerror}.") from None


def _is_plain(entry: Result) -> bool:
    """Whether a result has a box and, if it has a mask, one in the form that it keeps; nothing is to be put right."""
    mask, box = entry.segmentation, entry.bbox
    if box is None or len(box) != 4 or min(box[2:]) < 0 or (mask is not None and min(box[2:]) == 0):
        return False
    return mask is None or bool(type(mask) is RunLengths and type(mask.counts) is str and mask.counts and mask.size)


def _result(entry: Result, counts: Counts, where: str) -> dict[str, Any]:
    """Return a result as it is used, called ``where`` in messages; one with run lengths only has no box yet."""
    try:
        return _completed(entry, counts)
    except Unusable:
        raise UnsegError(f'{where} has neither a "bbox" nor a "segmentation".') from None
    except UnsegError as error:
        raise UnsegError(f"{where} (image {quoted(entry.image_id)}): {error}") from None


def _completed(entry: Result, counts: Counts) -> dict[str, Any]:
    segmentation = outline(entry, None, None, counts)
    result: dict[str, Any] = {
        "image_id": identity(entry.image_id),
        "category_id": 1 if entry.category_id is None else entry.category_id,
    }
    box = stated_box(entry)
    if box and (segmentation is None or min(box[2:]) > 0):
        result["bbox"] = box
    elif segmentation is None:
        raise Unusable
    elif isinstance(segmentation, list):
        corners = [value for polygon in segmentation for value in polygon]
        left, top = min(corners[::2]), min(corners[1::2])
        result["bbox"] = [left, top, max(corners[::2]) - left, max(corners[1::2]) - top]
    if segmentation is not None:
        result["segmentation"] = segmentation
    return result if entry.score is UNSET else result | {"score": entry.score}
