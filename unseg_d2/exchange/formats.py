"""The formats that label sets are written in, by name; importing this loads none of their libraries."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unseg_d2.errors import UnsegError, nearest

if TYPE_CHECKING:
    from unseg_d2.exchange.pictures import Placing
    from unseg_d2.exchange.request import Request


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        text: what is written.
        writer: module in ``writers`` and function.
        placing: what becomes of the pictures unless something else is asked for.
        beside: whether the format needs the pictures beside it, so that they cannot stay where they are.
        polygons: whether it has polygons besides run lengths.
        prefix: whether it holds addresses of pictures.
        ignored: whether it has regions to ignore.
        file: that it writes under a name that label sets have too.
    """

    text: str
    writer: str
    placing: Placing = "reference"
    beside: bool = False
    polygons: bool = False
    prefix: bool = False
    ignored: bool = False
    file: str = ""

    def write(self, request: Request) -> Path:
        """Write a label set; see the function that ``writer`` names."""
        module, name = self.writer.split(".")
        function: Callable[[Request], Path] = getattr(
            importlib.import_module(f"unseg_d2.exchange.writers.{module}"), name
        )
        return function(request)


FORMATS = {
    "coco": Format("COCO: one file", "coco.write_coco", polygons=True, ignored=True, file="labels.json"),
    "yolo": Format("YOLO segments, as Ultralytics reads them", "yolo.write_segments", "link", beside=True),
    "yolo-boxes": Format("YOLO boxes", "yolo.write_boxes", "link", beside=True),
    "label-studio": Format("tasks of Label Studio with brush masks", "label_studio.write_label_studio", prefix=True),
    "cvat": Format("CVAT for images 1.1", "cvat.write_cvat", polygons=True, file="labels.json"),
    "voc": Format("Pascal VOC: boxes, and pictures of objects", "png.write_voc", "link", ignored=True),
    "png": Format("a PNG per image whose values number the objects", "png.write_png", ignored=True),
    "youtube-vis": Format(
        "YouTube-VIS: objects with a mask per frame", "youtube_vis.write_youtube_vis", file="youtube_vis.json"
    ),
    "fiftyone": Format(
        "COCO in the folders that FiftyOne reads", "coco.write_fiftyone", "link", True, ignored=True, file="labels.json"
    ),
}
"""Name of each format, as a command line has it."""


def format_of(name: str) -> Format:
    """Return a format by its name.

    Raises:
        UnsegError: there is none of that name.
    """
    if name not in FORMATS:
        raise UnsegError(f"There is no format {name}.{nearest(name, FORMATS)} There are: {', '.join(FORMATS)}.")
    return FORMATS[name]
