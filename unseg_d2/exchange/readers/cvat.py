"""Corrections as CVAT exports them: "CVAT for images 1.1", an XML file or a zip with it."""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

import numpy as np

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.returned import Returned, Shape
from unseg_d2.exchange.writers.cvat import DONE
from unseg_d2.rle import encode_mask, to_rle

XML = "annotations.xml"
LARGEST = 4 << 30
"""Bytes of a file in a zip that are read; a small zip could unfold to more than any disk holds."""
LARGEST_IMAGE = 1 << 30
"""Pixels of an image; a few digits too many would take all of the memory."""


def read_cvat(path: Path, counts: Counts) -> list[Returned]:
    """Read an export of CVAT.

    Polygons of one group and one label are the parts of one object.

    Args:
        path: XML file, or zip with ``annotations.xml``.
        counts: of what was left out.

    Raises:
        UnsegError: it is damaged, or holds tracks of a video.
    """
    with ExitStack() as stack:
        try:
            return _images(stack.enter_context(_opened(path, stack)), path, counts)
        except ElementTree.ParseError as error:
            raise UnsegError(f"{path} is no XML: {error}.") from None
        except (zipfile.BadZipFile, OSError, RuntimeError) as error:
            raise UnsegError(f"{path} cannot be read: {error}.") from None


def _opened(path: Path, stack: ExitStack) -> IO[bytes]:
    if not zipfile.is_zipfile(path):
        return path.open("rb")
    archive = stack.enter_context(zipfile.ZipFile(path))
    name = next((item for item in archive.namelist() if item.rpartition("/")[2] == XML), None)
    if name is None:
        raise UnsegError(f'{path} holds no {XML}; export the task as "CVAT for images 1.1".')
    if archive.getinfo(name).file_size > LARGEST:
        raise UnsegError(f"{path} holds more annotations than can be read; export fewer tasks at a time.")
    return archive.open(name)


def _images(file: IO[bytes], path: Path, counts: Counts) -> list[Returned]:
    returned: list[Returned] = []
    labels: set[str] = set()
    for _, element in ElementTree.iterparse(file, events=("end",)):
        if element.tag == "track":
            raise UnsegError(f'{path} holds tracks of a video; export the task as "CVAT for images 1.1".')
        if element.tag == "label":
            labels.add(element.findtext("name") or "")
        if element.tag == "image":
            try:
                returned.append(_image(element, DONE in labels, counts))
            except (KeyError, ValueError, TypeError, OverflowError, UnsegError) as error:
                raise UnsegError(f"{path}: the image {quoted(element.get('name'))} is damaged: {error}") from None
            element.clear()
    if not returned:
        raise UnsegError(f'{path} holds no images; export the task as "CVAT for images 1.1".')
    return returned


def _image(element: ElementTree.Element, has_tag: bool, counts: Counts) -> Returned:
    height, width = int(element.attrib["height"]), int(element.attrib["width"])
    if not 0 < height * width <= LARGEST_IMAGE or height < 0:
        raise ValueError(f"it is said to have {width}x{height} pixels.")
    shapes: list[Shape] = []
    parts: dict[tuple[str | None, str], list[list[float]]] = {}
    done = False
    for item in element:
        label, group = item.get("label"), item.get("group_id", "0")
        if item.tag == "tag":
            done = done or label == DONE
        elif item.tag == "box":
            shapes.append(Shape(label, _box(item)))
        elif item.tag == "mask":
            shapes.append(Shape(label, [], encode_mask(_mask(item, height, width))))
        elif item.tag == "polygon":
            points = [float(value) for pair in item.attrib["points"].split(";") for value in pair.split(",")]
            if group in ("0", ""):
                shapes.append(Shape(label, [], to_rle([points], height, width)))
            else:
                parts.setdefault((label, group), []).append(points)
        else:
            counts.add(f"shapes of the kind {item.tag} are neither masks nor boxes and were left out")
    shapes += [Shape(label, [], to_rle(polygons, height, width)) for (label, _), polygons in parts.items()]
    return Returned((element.attrib["name"],), (height, width), shapes, done if done or has_tag else None)


def _box(item: ElementTree.Element) -> list[float]:
    if float(item.get("rotation", 0)):
        raise ValueError("a box is turned; draw it upright.")
    left, top, right, bottom = (float(item.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
    return [left, top, right - left, bottom - top]


def _mask(item: ElementTree.Element, height: int, width: int) -> np.ndarray:
    left, top, columns, rows = (int(float(item.attrib[key])) for key in ("left", "top", "width", "height"))
    lengths = np.array([int(value) for value in item.attrib["rle"].split(",")])
    if lengths.min() < 0 or lengths.sum() != rows * columns or min(left, top) < 0:
        raise ValueError("run lengths of a mask do not fill its box.")
    if left + columns > width or top + rows > height:
        raise ValueError("a mask lies outside the image.")
    inside: Any = np.arange(len(lengths)) % 2 == 1
    mask = np.zeros((height, width), bool)
    mask[top : top + rows, left : left + columns] = np.repeat(inside, lengths).reshape(rows, columns)
    return mask
