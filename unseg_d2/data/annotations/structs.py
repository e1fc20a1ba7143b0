"""What annotation files hold, as types that are checked while a file is parsed.

They are wide where nothing is lost (numbers as text, null for what is missing) and narrow where a number would be
wrong: no coordinate is NaN, infinite, or beyond any image.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

FARTHEST = 1_000_000
"""Pixels: no image is as long, and no coordinate of an annotation lies farther out."""

Coordinate = Annotated[float, Meta(ge=-FARTHEST, le=FARTHEST)]
Finite = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Identity = int | Finite | str
"""Of an image, a category or an annotation; floats are whole numbers that a tool wrote with a point."""

Side = Annotated[int, Meta(ge=0, le=FARTHEST)]
Size = Annotated[list[Side], Meta(min_length=2, max_length=2)]
RunLength = Annotated[int, Meta(ge=0, le=FARTHEST**2)]


class Point(Struct, gc=False):
    """A corner of a polygon, as some tools write it."""

    x: Coordinate
    y: Coordinate


class RunLengths(Struct, gc=False):
    """A mask as COCO's run lengths, compressed (text) or not; the size may be that of the image."""

    counts: str | list[RunLength]
    size: Size | None = None


Polygons = list[Coordinate | Point | list[Coordinate | Point | list[Coordinate]]]
"""One flat polygon, or one of pairs or points, or a list of either."""


class Image(Struct, gc=False):
    """An image; LVIS names its file in ``coco_url`` only."""

    id: Identity
    file_name: str | None = None
    height: Side | None = None
    width: Side | None = None
    coco_url: str | None = None
    proposals_left_out: int | None = None
    done: int | bool | None = None  # a person has said that every object has its mask
    video_id: Any = None  # of a frame: the video, the number of the frame in it from 0, and seconds
    frame_id: Any = None
    time: Any = None


class Category(Struct, gc=False):
    """A class; without an id it counts from 1 on in the order of the file."""

    id: Identity | None = None
    name: str | int | float | None = None
    isthing: Any = None  # 0 in panoptic files: stuff, which has no instances


class Mask(Struct, gc=False):
    """What annotations and results share: a box, a mask, or both."""

    bbox: list[Coordinate] | None = None
    segmentation: RunLengths | Polygons | None = None
    category_id: Identity | None = None


class Segment(Mask, gc=False, kw_only=True):
    """A segment of an image in a panoptic file; its mask lies in a picture."""

    id: Any = None
    area: Any = None
    iscrowd: int | bool | float | None = None


class Annotation(Mask, gc=False, kw_only=True):
    """An object, or a crowd region; in a panoptic file all segments of an image."""

    image_id: Identity
    id: Identity | None = None
    area: Any = None  # it follows from mask and box, so what is no number is no loss
    iscrowd: int | bool | float | None = None
    score: Finite | None = None
    confidence: Any = None  # ours is a grid in base64; other tools use the name for a number
    corrected: int | bool | None = None  # a person has drawn or approved it
    track_id: Any = None  # of the object in its video
    filled: Any = None  # it was put between masks that were found
    key: Any = None  # it is one of the best of its object
    group_confidence: Finite | None = None  # how certain the group is that the category stands for, in [0, 1]
    level: Any = None  # of detail; this and the next three are ours where they are numbers, see `read.place_of`
    granularity: Any = None
    node: Any = None
    parent: Any = None
    segments_info: list[Segment] | None = None
    file_name: Any = None  # in a panoptic file the picture with the masks of the segments


class Result(Mask, gc=False, kw_only=True):
    """A detection; its score may be missing, but not null."""

    image_id: Identity
    score: Finite | UnsetType = UNSET


class Content(Struct, gc=False):
    """A COCO file, a label set, or LVIS."""

    images: list[Image]
    annotations: list[Annotation] | None = None
    categories: list[Category | str] | None = None
    info: Any = None
    videos: Any = None  # that frames are of


class Found(Mask, gc=False, kw_only=True):
    """A mask in the line of a shard."""

    area: Finite | None = None
    score: Finite | None = None
    confidence: Any = None


class Line(Image, gc=False, kw_only=True):
    """A line of a shard: an image with its masks, or the reason why it could not be used."""

    file_name: str
    annotations: list[Found] | None = None
    failure: str | None = None
    rejected: dict[str, int] | None = None
