"""What the owners' files hold, as types that are checked while they are read: messages name file, record and field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from unseg_d2.data.annotations.parse import convert, parse, quoted, read_bytes
from unseg_d2.data.annotations.read import image_of
from unseg_d2.data.annotations.structs import (
    FARTHEST,
    Annotation,
    Category,
    Coordinate,
    Finite,
    Identity,
    Image,
    Polygons,
    RunLengths,
)
from unseg_d2.errors import UnsegError

Length = Annotated[float, Meta(ge=1, le=FARTHEST)]
"""Of a side of an image, px; tools write it with a point."""
Share = Annotated[float, Meta(ge=-1, le=2)]
"""Of a side of an image; boxes may reach over its edge."""


class Instances(Struct):
    """A COCO file: COCO, LVIS, Objects365, UVO."""

    images: list[Image]
    annotations: list[Annotation]


class Classes(Instances):
    """A COCO file whose classes matter."""

    categories: list[Category]


class ListedImage(Struct):
    """An image in a list of images."""

    id: Identity


class ImageList(Struct):
    """A COCO file that is taken as a list of images."""

    images: list[ListedImage]


class SaImage(Struct):
    """The image of a file of SA-1B."""

    image_id: Identity
    file_name: str
    height: Length
    width: Length


class SaMask(Struct):
    """A mask of SA-1B."""

    segmentation: RunLengths | Polygons
    bbox: list[Coordinate]
    area: Finite


class SaFile(Struct):
    """A file of SA-1B; its image is checked by itself."""

    image: dict[str, Any]
    annotations: list[SaMask]


class Corners(Struct):
    """A box of KITTI, px."""

    left: Coordinate
    top: Coordinate
    right: Coordinate
    bottom: Coordinate


class VocSize(Struct):
    """The size of an image of Pascal VOC."""

    height: Length
    width: Length


class VocBox(Struct):
    """A box of Pascal VOC, px from 1 on."""

    xmin: Coordinate
    ymin: Coordinate
    xmax: Coordinate
    ymax: Coordinate


class OpenImagesBox(Struct):
    """A row of Open Images' table of boxes; coordinates are shares of the sides."""

    ImageID: str
    XMin: Share
    XMax: Share
    YMin: Share
    YMax: Share
    IsGroupOf: str


class OpenImagesMask(Struct):
    """A row of Open Images' table of masks."""

    ImageID: str
    MaskPath: str


def read_instances(path: Path) -> Instances:
    """Read a COCO file.

    Raises:
        UnsegError: there is none, or a field holds something else than it should.
    """
    return parse(read_bytes(path), Instances, str(path))


def read_sa(path: Path) -> tuple[SaImage, list[SaMask]]:
    """Read a file of SA-1B.

    Raises:
        UnsegError: there is none, or a field holds something else than it should.
    """
    content = parse(read_bytes(path), SaFile, str(path), "the file")
    return convert(content.image, SaImage, f"{path}: ", "its image"), content.annotations


def sized(entry: Image, path: Path) -> dict[str, Any]:
    """Return an image of a COCO file with its size, and with its file name where it has one.

    Raises:
        UnsegError: it has no size.
    """
    for key in ("height", "width"):
        if not getattr(entry, key):
            raise UnsegError(f'{path}: image {quoted(entry.id)} lacks the key "{key}"; is it the owners\' file?')
    named = Image(entry.id, entry.file_name or "-", entry.height, entry.width)
    return image_of(named)


def plain_mask(entry: Struct) -> dict[str, Any]:
    """Return box, mask, area and crowd flag of an annotation as JSON has them, without those that it lacks."""
    values = {key: getattr(entry, key, None) for key in ("segmentation", "bbox", "area", "iscrowd", "category_id")}
    return {key: msgspec.to_builtins(value) for key, value in values.items() if value is not None}


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file.

    Raises:
        UnsegError: there is no such file, or it is not text in UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UnsegError(f"{path} is not text in UTF-8; is it the owners' file?") from None


def listed_names(path: Path) -> list[str]:
    """Return the lines of a list of images that are not empty.

    Raises:
        UnsegError: there is no such list.
    """
    try:
        return [line.strip() for line in read_lines(path) if line.strip()]
    except UnsegError:
        raise UnsegError(f"There is no list of images {path}: a text file with one image per line is needed.") from None
