"""Masks as pictures whose values are the numbers of the objects: indexed PNG, and Pascal VOC with its XML files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unseg_d2.data.annotations.parse import quoted
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.names import check_file_names, class_names, stems
from unseg_d2.exchange.pictures import place
from unseg_d2.exchange.request import Request
from unseg_d2.exchange.source import by_image, objects, rle, size_of
from unseg_d2.exchange.writers.xml import to_bytes, tree
from unseg_d2.files import atomic_write, write_json
from unseg_d2.rle import decode_mask

IGNORED = 255
"""Value of pixels to ignore; 65535 in pictures of 16 bits."""


def write_png(request: Request) -> Path:
    """Write a PNG per image, whose values are 0 for background and 1, 2, ... for its objects, and ``objects.json``.

    Images with more than 254 objects are 16-bit greyscale, all others 8-bit with a palette. Where masks overlap, the
    smaller one is on top.

    Returns:
        ``objects.json``: class, score and id of every value.
    """
    names = {category["id"]: category["name"] for category in request.dataset.categories}
    files = stems(request.dataset.images, "indexed PNG")
    listed = {}
    for image, items in by_image(request.dataset):
        found, ignored = objects(items)
        _check_masks(found, "indexed PNG")
        values = _numbered(request, image, found, ignored)
        _save(request.output / f"{files[image['id']]}.png", values)
        about = [{"value": value, "class": names[a["category_id"]]} | _known(a) for value, a in enumerate(found, 1)]
        listed[image["file_name"]] = {"png": f"{files[image['id']]}.png", "objects": about}
    path = request.output / "objects.json"
    write_json(path, {"ignored": {"8 bits": IGNORED, "16 bits": 65535}, "images": listed}, indent=1)
    return path


def write_voc(request: Request) -> Path:
    """Write Pascal VOC: boxes in ``Annotations``, masks in ``SegmentationObject`` and ``SegmentationClass``.

    A region to ignore is 255 in both pictures, and an object that is ``difficult``. Classes count from 1 in the order
    of the categories, which ``labelmap.txt`` lists.

    Returns:
        The folder.

    Raises:
        UnsegError: there are more classes or objects in an image than 8 bits can number, or a class name has a colon.
    """
    names = class_names(request.dataset.categories, "Pascal VOC")
    if len(names) >= IGNORED:
        raise UnsegError(f"Pascal VOC holds at most {IGNORED - 1} classes, but there are {len(names)}.")
    odd = next((name for name in names.values() if ":" in name or name.startswith("#")), None)
    if odd is not None:
        raise UnsegError(
            f"The list of classes of Pascal VOC cannot hold {quoted(odd)}: it has a colon, or begins with #."
        )
    check_file_names(request.dataset.images, "Pascal VOC")
    files, numbers = stems(request.dataset.images, "Pascal VOC"), {key: n for n, key in enumerate(names, 1)}
    masked = []
    for image, items in by_image(request.dataset):
        found, ignored = objects(items)
        stem, segmented = files[image["id"]], bool(found) and all(a.get("segmentation") for a in found)
        with atomic_write(request.output / "Annotations" / f"{stem}.xml") as file:
            file.write(_voc_xml(image, items, names, segmented))
        if segmented:
            values = _numbered(request, image, found, ignored)
            if values.dtype != np.uint8:
                raise UnsegError(
                    f"Pascal VOC holds at most {IGNORED - 1} objects per image, but {quoted(image['file_name'])} has "
                    f"{len(found)}."
                )
            table = np.array(
                [0, *(numbers[a["category_id"]] for a in found), *[IGNORED] * (255 - len(found))], np.uint8
            )
            _save(request.output / "SegmentationObject" / f"{stem}.png", values)
            _save(request.output / "SegmentationClass" / f"{stem}.png", table[values])
            masked.append(stem)
        elif found:
            request.counts.add("images have boxes without masks and got no picture of objects")
        if request.placing != "reference":
            assert request.root is not None  # looked for where pictures are placed
            target = request.output / "JPEGImages" / image["file_name"]
            place(request.root, image["file_name"], target, request.placing)
    for kind, listed in (("Main", list(files.values())), ("Segmentation", masked)):
        with atomic_write(request.output / "ImageSets" / kind / "train.txt") as file:
            file.write("".join(f"{stem}\n" for stem in listed).encode())
    palette = _palette()
    with atomic_write(request.output / "labelmap.txt") as file:
        rows = [("background", 0), *((name, numbers[key]) for key, name in names.items())]
        file.write("".join(f"{name}:{','.join(map(str, palette[value]))}::\n" for name, value in rows).encode())
    return request.output


def _voc_xml(image: dict[str, Any], annotations: Sequence[dict[str, Any]], names: dict[Any, str], masks: bool) -> bytes:
    height, width = size_of(image)
    about = {"folder": "JPEGImages", "filename": image["file_name"]}
    about |= {"size": {"width": width, "height": height, "depth": 3}, "segmented": int(masks)}
    made = tree("annotation", about)
    for annotation in annotations:
        left, top, box_width, box_height = annotation["bbox"]
        corners = {"xmin": left + 1, "ymin": top + 1, "xmax": left + box_width, "ymax": top + box_height}  # from 1 on
        limits = {"xmin": (1, width), "ymin": (1, height), "xmax": (1, width), "ymax": (1, height)}
        box = {key: int(min(max(round(value), limits[key][0]), limits[key][1])) for key, value in corners.items()}
        item = {"name": names[annotation["category_id"]], "pose": "Unspecified", "truncated": 0}
        made.append(tree("object", item | {"difficult": annotation["iscrowd"], "bndbox": box}))
    return to_bytes(made)


def _numbered(
    request: Request, image: dict[str, Any], found: Sequence[dict[str, Any]], ignored: Sequence[dict[str, Any]]
) -> np.ndarray:
    """Return ``(H, W)``, uint8 or where that is too small uint16: 0, or the number of the object, or ignored."""
    height, width = size_of(image)
    kind = np.uint8 if len(found) < IGNORED else np.uint16
    if len(found) >= 65535:
        raise UnsegError(f"A PNG holds at most 65534 objects, but {quoted(image['file_name'])} has {len(found)}.")
    values = np.zeros((height, width), kind)
    for annotation in ignored:
        values[decode_mask(rle(annotation, image), height, width)] = np.iinfo(kind).max
    masks = [decode_mask(annotation["segmentation"], height, width) for annotation in found]
    for place_ in sorted(range(len(found)), key=lambda place_: -int(masks[place_].sum())):
        hidden = values[masks[place_]]
        request.counts.add("masks lie in part below smaller ones", bool(((hidden > 0) & (hidden <= len(found))).any()))
        values[masks[place_]] = place_ + 1
    return values


def _check_masks(found: Sequence[dict[str, Any]], tool: str) -> None:
    boxes = sum(not annotation.get("segmentation") for annotation in found)
    if boxes:
        raise UnsegError(f"An image has {boxes} boxes without masks, which {tool} cannot hold; export them as COCO.")


def _known(annotation: dict[str, Any]) -> dict[str, Any]:
    return {key: annotation[key] for key in ("id", "score") if key in annotation}


def _save(path: Path, values: np.ndarray) -> None:
    picture = Image.fromarray(values)
    if values.dtype == np.uint8:
        picture = picture.convert("P") if picture.mode != "L" else picture
        picture.putpalette(_palette().ravel().tolist())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=False)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def _palette() -> np.ndarray:
    """Return ``(256, 3)`` uint8, the colours of Pascal VOC: bits of the number spread over the bits of the colours."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours
