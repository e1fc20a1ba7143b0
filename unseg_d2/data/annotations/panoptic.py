"""Masks of COCO's panoptic files: each image has a PNG picture, in which colours are the ids of segments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.annotations.sources import MemorySource
from unseg_d2.data.annotations.structs import Annotation, Content, Image, RunLengths, Segment
from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.data.pictures.stored import read_stored
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask

_LATER = RunLengths(counts="0")  # stands for a mask until it is read


def is_panoptic(content: Content) -> bool:
    """Return whether the annotations of a file are lists of segments."""
    return any(entry.segments_info for entry in content.annotations or ())


def separated(content: Content, json_file: Path | None, counts: Counts) -> PanopticSource:
    """Return the segments of a panoptic file as annotations of their own, one after the other.

    Their masks are read from ``NAME/``, the folder of pictures beside ``NAME.json``; without one, they are boxes.
    Segments of categories that are no things (``isthing`` 0: sky, grass) are no objects.

    Args:
        content: of the file.
        json_file: the file, ``None`` for content that is from none.
        counts: of what was left out.

    Raises:
        UnsegError: some of the pictures are missing.
    """
    stuff = {str(c.id) for c in content.categories or () if not isinstance(c, str) and c.isthing in (0, False)}
    segments = [(entry, part) for entry in content.annotations or () for part in entry.segments_info or ()]
    things = [(entry, part) for entry, part in segments if str(part.category_id) not in stuff]
    counts.add("segments of stuff (isthing 0) are not among the objects", len(segments) - len(things))
    folder = json_file.with_suffix("") if json_file is not None else None
    if folder is None or not folder.is_dir():
        where = "" if folder is None else f", and there is no folder {folder}"
        counts.add(f"segments of a panoptic file are read as boxes; their masks lie in pictures{where}", len(things))
        return PanopticSource(
            content.images, [_annotation(entry, part, part.segmentation) for entry, part in things], []
        )
    places = [place_of(folder, entry, part) for entry, part in things]
    check_there(folder, [place.picture for place in places])
    return PanopticSource(content.images, [_annotation(entry, part, _LATER) for entry, part in things], places)


@dataclass(frozen=True)
class Place:
    """Where a mask lies: pixels of one number in a picture."""

    picture: str
    segment: int


class PanopticSource(MemorySource):
    """Segments as annotations; the picture of an image is read when the annotations of the image are asked for.

    Args:
        images: of the file.
        annotations: its segments.
        places: of their masks, one each, or none at all.
    """

    def __init__(self, images: Sequence[Image], annotations: Sequence[Annotation], places: Sequence[Place]) -> None:
        super().__init__(images, annotations)
        self._places = places

    def annotations(self, starts: np.ndarray, extents: np.ndarray) -> list[Annotation]:
        """Return the entries of annotations with their masks.

        Raises:
            UnsegError: a picture cannot be read, or does not have the segment.
        """
        found = super().annotations(starts, extents)
        if not self._places:
            return found
        name, numbers, masked = "", np.zeros((0, 0), np.int64), []
        for row, entry in zip(starts.tolist(), found):
            place = self._places[row]
            if place.picture != name:
                name, numbers = place.picture, segment_numbers(place.picture)
            mask = numbers == place.segment
            if not mask.any():
                raise UnsegError(f"{name} has no pixel of segment {place.segment}, which its annotation names.")
            masked.append(msgspec.structs.replace(entry, segmentation=RunLengths(**encode_mask(mask))))
        return masked


def segment_numbers(picture: str | Path) -> np.ndarray:
    """Return the ids of segments in a panoptic picture: red + 256 green + 65536 blue.

    Returns:
        ``(H, W)`` int32; 0 where there is no segment.

    Raises:
        UnsegError: it cannot be read, or is no picture in colour.
    """
    try:
        colours = read_stored(picture)
    except ImageProblem as problem:
        raise UnsegError(f"The masks in {picture} cannot be read: {problem}.") from None
    if colours.ndim != 3 or colours.dtype != np.uint8 or colours.shape[2] not in (3, 4):
        raise UnsegError(f"The masks in {picture} cannot be read: it is no PNG picture in colour of 8 bit.")
    red, green, blue = np.moveaxis(colours[..., :3].astype(np.int32), 2, 0)
    numbers: np.ndarray = red + 256 * green + 65536 * blue
    return numbers


def _annotation(entry: Annotation, part: Segment, segmentation: Any) -> Annotation:
    about = {"area": part.area, "iscrowd": part.iscrowd, "category_id": part.category_id}
    return Annotation(image_id=entry.image_id, bbox=part.bbox, segmentation=segmentation, **about)


def place_of(folder: Path, entry: Annotation, part: Segment) -> Place:
    """Return where the mask of a segment lies.

    Raises:
        UnsegError: the annotation names no picture, or the segment has no number.
    """
    number = int(part.id) if isinstance(part.id, (int, float)) or str(part.id).isdigit() else None
    if not isinstance(entry.file_name, str) or number is None:
        lacking = '"id" of a segment' if isinstance(entry.file_name, str) else '"file_name" of the picture'
        raise UnsegError(f"the annotation of image {quoted(entry.image_id)} lacks the {lacking} with its masks.")
    return Place(os.path.join(folder, os.path.basename(entry.file_name)), number)


def check_there(folder: Path, pictures: Sequence[str]) -> None:
    """Raise `UnsegError` where pictures of a panoptic file are not in its folder."""
    there = set(os.listdir(folder))
    wanted = list(dict.fromkeys(os.path.basename(picture) for picture in pictures))
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UnsegError(
            f"{len(missing)} of the {len(wanted)} pictures with masks are not in {folder}, such as {missing[0]}; put "
            "them there, or move the folder away to read boxes alone."
        )
