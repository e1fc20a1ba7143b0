"""Write a COCO file piece by piece, so that the largest data sets need not fit into memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from unseg_d2.data.coco import check_coco
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write

CATEGORY = {"id": 1, "name": "fg", "supercategory": "fg"}
"""The one class of a class-agnostic file."""


@dataclass
class Prepared:
    """What was written.

    Attributes:
        path: the file.
        protocol: how objects were counted and what was left out, in one or two sentences; ``info.protocol`` in it.
        images: images listed, those without objects included.
        objects: objects that count.
        crowds: regions with ``iscrowd`` 1: not finding one is no miss, and a result on one is not false.
        without_objects: images that have no object that counts.
        left_out: annotations of the source that are not in the file, and why; reason to number.
    """

    path: Path
    protocol: str
    images: int = 0
    objects: int = 0
    crowds: int = 0
    without_objects: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return what to print: the counts, what is left out, and the protocol."""
        counts = f"{self.images} images ({self.without_objects} without objects), {self.objects} objects"
        lines = [f"wrote     {self.path}", f"holds     {counts}, {self.crowds} crowd regions"]
        lines += [f"left out  {number} annotations: {reason}" for reason, number in self.left_out.items() if number]
        return [*lines, f"protocol  {self.protocol}"]


class CocoWriter:
    """Takes images with their annotations, one after the other; made by `coco_writer`."""

    def __init__(self, file: BinaryIO, prepared: Prepared, categories: Sequence[dict[str, Any]]) -> None:
        self._file = file
        self._categories = list(categories)
        self._images: list[dict[str, Any]] = []
        self._ids: set[Any] = set()
        self._written = 0
        self.prepared = prepared

    def add(self, image: dict[str, Any], annotations: Iterable[dict[str, Any]]) -> None:
        """Write the annotations of an image.

        Args:
            image: COCO image (``id``, ``file_name``, ``height``, ``width``).
            annotations: COCO annotations; ``id``, ``image_id`` and, where there is one class, ``category_id`` are set
                here.

        Raises:
            UnsegError: an image with that id was added before, or the reader of annotations would refuse it.
        """
        if image["id"] in self._ids:
            raise UnsegError(f"The image id {image['id']} occurs twice in the source; remove one of the two files.")
        self._ids.add(image["id"])
        objects = 0
        image, checked = self._checked(image, list(annotations))
        self._images.append(image)
        for annotation in checked:
            number = self._written + 1
            item = {**annotation, "id": number}
            self._file.write((",\n" if self._written else "").encode() + json.dumps(item).encode())
            self._written = number
            self.prepared.crowds += item["iscrowd"]
            objects += 1 - item["iscrowd"]
        self.prepared.images += 1
        self.prepared.objects += objects
        self.prepared.without_objects += not objects

    def _checked(
        self, image: dict[str, Any], annotations: list[dict[str, Any]]
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return an image and its annotations as the reader of annotations has them, so that it will read the file."""
        numbered = [
            {**annotation, "id": number, "image_id": image["id"]}
            for number, annotation in enumerate(annotations, start=1)
        ]
        dataset = check_coco({"images": [image], "annotations": numbered, "categories": self._categories})
        for _ in range(len(annotations) - len(dataset.annotations)):
            self.leave_out("neither a box nor a mask of any size")
        return dataset.images[0], dataset.annotations

    def leave_out(self, reason: str) -> None:
        """Count an annotation of the source that is not written."""
        self.prepared.left_out[reason] = self.prepared.left_out.get(reason, 0) + 1

    def _finish(self, info: dict[str, Any]) -> None:
        self._file.write(b'],\n"images": [')
        for index, image in enumerate(self._images):
            self._file.write((",\n" if index else "").encode() + json.dumps(image).encode())
        self._file.write(b'],\n"info": ' + json.dumps(info).encode() + b"}\n")


@contextmanager
def one_record(path: Path, record: str = "") -> Iterator[None]:
    """Turn what goes wrong with a record of a source into one sentence.

    Args:
        path: the file.
        record: which part of it; empty for the file as a whole.

    Raises:
        UnsegError: the file is not text, or a value is not what the format says; the message names file and record.
    """
    where = f"{path}, {record}," if record else f"{path}"
    try:
        yield
    except UnsegError as error:
        if str(path) in str(error):
            raise
        raise UnsegError(f"{where} cannot be used: {error}") from None
    except UnicodeDecodeError:
        raise UnsegError(f"{where} is not text in UTF-8; is it the owners' file?") from None
    except (ValueError, OverflowError) as error:
        raise UnsegError(f"{where} is not as the format says ({error}); is it the owners' file?") from None


@contextmanager
def coco_writer(
    path: Path,
    *,
    source: str,
    protocol: str,
    full: int | None = None,
    categories: Sequence[dict[str, Any]] = (CATEGORY,),
) -> Iterator[CocoWriter]:
    """Open a COCO file for writing; it appears under its name when the block succeeds.

    Args:
        path: the file to make or replace.
        source: what it is made from, for ``info.source``.
        protocol: for ``info.protocol``; what `Prepared.protocol` says.
        full: number of images of the complete benchmark; if the file has another number, its protocol says so.
        categories: of the annotations.

    Raises:
        UnsegError: no image was added.
    """
    prepared = Prepared(path, protocol)
    with atomic_write(path) as file:
        writer = CocoWriter(file, prepared, categories)
        file.write(json.dumps({"categories": list(categories)})[:-1].encode() + b',\n"annotations": [')
        yield writer
        if not prepared.images:
            raise UnsegError(f"{source} has no images, so {path} was not written.")
        if full not in (None, prepared.images):
            prepared.protocol += (
                f" HAS {prepared.images} IMAGES INSTEAD OF {full}: results on it are not results of this benchmark."
            )
        writer._finish({"description": path.stem, "source": source, "protocol": prepared.protocol})
