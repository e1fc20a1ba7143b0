"""The images of an annotation file with their annotations, one image at a time.

Shape legend
    n   images
    m   annotations
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from unseg_d2.data.annotations.columns import MASK, UNKNOWN, Keys, positions_in
from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.dataset import CocoDataset
from unseg_d2.data.annotations.masks import check_run_lengths
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.annotations.read import Classes, annotation_of, called, file_name_of, image_of
from unseg_d2.data.annotations.sources import Source
from unseg_d2.data.annotations.structs import Annotation
from unseg_d2.errors import UnsegError

Entry = dict[str, Any]
BATCH = 2_000  # annotations that are read at once where all are wanted
TOGETHER = 256  # images whose annotations are read at once where all are wanted: one check of many masks is short


@dataclass(frozen=True)
class Rows:
    """Where the entries are, image by image.

    Attributes:
        images: ``(n,)`` int64 and int32, addresses of the images, see `Source`.
        annotations: ``(m,)`` int64 and int32, those of their annotations.
        first: ``(n + 1,)`` int64, place of the first annotation of each image.
        numbers: ``(m,)`` int32, number of each annotation in the file, from 1 on.
    """

    images: tuple[np.ndarray, np.ndarray]
    annotations: tuple[np.ndarray, np.ndarray]
    first: np.ndarray
    numbers: np.ndarray


@dataclass
class AnnotationIndex:
    """The images of a file in its order; what belongs to one is read and checked when it is asked for.

    Attributes:
        where: begins messages: the file, a colon and a space; or nothing.
        source: of the entries.
        rows: where they are.
        keys: ids of the images.
        heights: ``(n,)`` int32 px, -1 where it is not known.
        widths: ``(n,)`` int32 px.
        done: ``(n,)`` bool, whether a person has said that every object has its mask.
        flags: ``(m,)`` uint8, what each annotation has, see `unseg_d2.data.annotations.columns`.
        granularities: ``(m,)`` float32, how coarse each annotation is; 1 where it does not say.
        present: ids of the categories that annotations have.
        numbered: whether annotations have ids of their own; else their number in the file is their id.
        categories: ``{id, name}`` each.
        info: what the file says about itself.
        joined: ids of images that are listed a second time, each with the id that the image has here.
        videos: those that frames are of, as the file has them; empty where it has none.
    """

    where: str
    source: Source
    rows: Rows
    keys: Keys
    heights: np.ndarray
    widths: np.ndarray
    done: np.ndarray
    flags: np.ndarray
    granularities: np.ndarray
    present: set[Any]
    numbered: bool
    categories: list[Entry]
    info: Entry
    joined: dict[Any, Any] = field(default_factory=dict)
    videos: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._classes = Classes(self.categories)
        self._places: dict[Any, int] = {}

    def __len__(self) -> int:
        """Number of images."""
        return len(self.heights)

    def image(self, position: int) -> Entry:
        """Return an image: ``id``, ``file_name`` and what else of `CocoDataset.images` is known.

        Raises:
            UnsegError: the file has changed since it was opened.
        """
        starts, extents = self.rows.images
        image = image_of(self.source.image(int(starts[position]), int(extents[position])))
        height, width = int(self.heights[position]), int(self.widths[position])
        return image if height == UNKNOWN else image | {"height": height, "width": width}

    def annotations(self, position: int, image: Entry | None = None) -> list[Entry]:
        """Return the annotations of an image, as `CocoDataset.annotations` has them.

        Args:
            position: of the image.
            image: what `image` returned for it, which is not read again then.

        Raises:
            UnsegError: a mask is damaged, or the file has changed since it was opened.
        """
        first, last = self.rows.first[position : position + 2].tolist()
        if first == last:
            return []
        return self._read(np.arange(first, last), [image or self.image(position)] * (last - first))

    def some(self, positions: Sequence[int]) -> list[tuple[Entry, list[Entry]]]:
        """Return some images with their annotations; to check their masks together takes less time."""
        images = [self.image(position) for position in positions]
        ranges = [np.arange(*self.rows.first[position : position + 2]) for position in positions]
        rows = np.concatenate(ranges) if ranges else np.zeros(0, np.int64)
        found = iter(self._read(rows, [image for image, of_it in zip(images, ranges) for _ in of_it]))
        return [(image, list(islice(found, len(of_it)))) for image, of_it in zip(images, ranges)]

    def __iter__(self) -> Iterator[tuple[Entry, list[Entry]]]:
        """Yield each image with its annotations, in the order of the file."""
        for start in range(0, len(self), TOGETHER):
            yield from self.some(range(start, min(start + TOGETHER, len(self))))

    def position_of(self, key: Any) -> int | None:
        """Return the position of the image with an id, ``None`` where there is none."""
        if isinstance(self.keys, list):
            self._places = self._places or {known: place for place, known in enumerate(self.keys)}
            return self._places.get(key)
        if not isinstance(key, int) or not -(1 << 63) <= key < 1 << 63:
            return None
        found = int(positions_in(self.keys, np.array([key]))[0])
        return None if found < 0 else found

    def images(self) -> Iterator[Entry]:
        """Yield each image, in the order of the file."""
        return (self.image(position) for position in range(len(self)))

    def ids(self) -> Iterator[Any]:
        """Yield the id of each image."""
        return iter(self.keys if isinstance(self.keys, list) else self.keys.tolist())

    def names(self) -> Iterator[str]:
        """Yield the file name of each image."""
        starts, extents = self.rows.images
        for start in range(0, len(self), BATCH):
            some = slice(start, start + BATCH)
            yield from map(file_name_of, self.source.images(starts[some], extents[some]))

    def counts(self) -> np.ndarray:
        """Return the number of annotations of each image, ``(n,)`` int64."""
        return np.diff(self.rows.first)

    def by_first_mask(self) -> np.ndarray:
        """Return the positions of the images that have masks, in the order of their first masks, ``(m,)`` int64."""
        rows = np.flatnonzero(self.flags & MASK)
        rows = rows[np.argsort(self.rows.numbers[rows], kind="stable")]
        owners = np.searchsorted(self.rows.first, rows, side="right") - 1
        return owners[np.sort(np.unique(owners, return_index=True)[1])]

    def sizes(self) -> np.ndarray:
        """Return height and width of each image in px, ``(n, 2)`` int32; -1 where they are not known."""
        return np.stack([self.heights, self.widths], axis=1)

    def dataset(self) -> CocoDataset:
        """Read everything; the annotations are in the order of the file."""
        images, annotations = list(self.images()), list[Entry]()
        owners = np.repeat(np.arange(len(self)), self.counts())
        order = np.argsort(self.rows.numbers, kind="stable")
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            annotations += self._read(rows, [images[owner] for owner in owners[rows].tolist()])
        return CocoDataset(images, annotations, self.categories, self.info, self.joined, self.videos)

    def _read(self, rows: np.ndarray, images: Sequence[Entry]) -> list[Entry]:
        """Return annotations, each with its image, after a check of their run lengths."""
        starts, extents = self.rows.annotations
        numbers = self.rows.numbers[rows].tolist()
        entries = self.source.annotations(starts[rows], extents[rows])
        counts = Counts()  # they were said when the file was opened
        found = [self._annotation(*item, counts) for item in zip(entries, images, numbers)]

        def name(at: int) -> str:
            return f"{self.where}annotation {quoted(found[at]['id'])} of {quoted(images[at]['file_name'])}"

        check_run_lengths(found, name)
        return found

    def _annotation(self, entry: Annotation, image: Entry, number: int, counts: Counts) -> Entry:
        try:
            annotation = annotation_of(entry, image, counts)
        except UnsegError as error:
            raise UnsegError(f"{self.where}{called(entry, number, image)}: {error}") from None
        annotation["id"] = entry.id if self.numbered else number
        annotation["category_id"] = self._classes.of(entry.category_id)
        return annotation
