"""Pascal VOC 2007: boxes of trainval and test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from unseg_d2.data.prepare.writer import CocoWriter, Prepared, coco_writer
from unseg_d2.errors import UnsegError

DIFFICULT = {
    "count": "Difficult objects count as any other.",
    "crowd": "Difficult objects are crowd regions: neither missed nor false.",
    "drop": "Difficult objects are left out, so a result on one is false.",
}
"""What may be done with objects that VOC marks as difficult."""


def prepare_voc(root: Path, *, difficult: str = "count") -> Prepared:
    """Convert ``voc/VOC2007/Annotations/*.xml``.

    Args:
        root: folder of the data sets.
        difficult: one of `DIFFICULT`; which one the published file uses is not documented.
    """
    if difficult not in DIFFICULT:
        raise UnsegError(f"--difficult is {difficult!r}, but must be one of {', '.join(DIFFICULT)}.")
    folder = root / "voc/VOC2007"
    protocol = f"VOC 2007 trainval and test, boxes of all classes as one class. {DIFFICULT[difficult]}"
    target = root / "voc/annotations/trainvaltest_2007_cls_agnostic.json"
    with coco_writer(target, source="VOC2007/Annotations", protocol=protocol, full=9963) as writer:
        for name in _names(folder):
            tree = _read(folder / "Annotations" / f"{name}.xml")
            size = {key: int(_number(tree, f"size/{key}", name)) for key in ("height", "width")}
            image = {"id": int(name), "file_name": f"VOC2007/JPEGImages/{name}.jpg", **size}
            writer.add(image, _objects(tree, name, difficult, writer))
    return writer.prepared


def _names(folder: Path) -> list[str]:
    names = []
    for split in ("trainval", "test"):
        path = folder / "ImageSets/Main" / f"{split}.txt"
        if not path.is_file():
            raise UnsegError(
                f"There is no file {path}; unpack VOC{split}_06-Nov-2007.tar so that {folder} is its VOC2007."
            )
        names += path.read_text().split()
    return sorted(names)


def _objects(tree: ElementTree.Element, name: str, difficult: str, writer: CocoWriter) -> Iterator[dict[str, Any]]:
    """Yield boxes; VOC counts pixels from 1 and the last one belongs to the box."""
    for item in tree.iter("object"):
        is_difficult = item.findtext("difficult", "0").strip() == "1"
        if is_difficult and difficult == "drop":
            writer.leave_out("difficult")
            continue
        left, top, right, bottom = (_number(item, f"bndbox/{side}", name) for side in ("xmin", "ymin", "xmax", "ymax"))
        box = [left - 1, top - 1, right - left + 1, bottom - top + 1]
        yield {"bbox": box, "area": box[2] * box[3], "iscrowd": int(is_difficult and difficult == "crowd")}


def _read(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (FileNotFoundError, ElementTree.ParseError) as error:
        raise UnsegError(f"{path} is missing or not a VOC annotation: {error}.") from None


def _number(element: ElementTree.Element, path: str, name: str) -> float:
    try:
        return float(element.findtext(path, ""))
    except ValueError:
        raise UnsegError(f"The VOC annotation of {name} has no number {path}.") from None
