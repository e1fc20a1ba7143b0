"""Pascal VOC: boxes of 2007 (training, validation and test images) and of 2012 (training and validation images)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from unseg_d2.data.annotations.parse import Parsed, convert
from unseg_d2.data.prepare.records import VocBox, VocSize, read_lines
from unseg_d2.data.prepare.writer import CocoWriter, Prepared, coco_writer, one_record
from unseg_d2.errors import UnsegError

DIFFICULT = {
    "count": "Difficult objects count as any other.",
    "crowd": "Difficult objects are crowd regions: neither missed nor false.",
    "drop": "Difficult objects are left out, so a result on one is false.",
}
"""What may be done with objects that VOC marks as difficult."""


SUBSETS = {"trainvaltest": ("trainval", "test"), "trainval": ("trainval",)}
"""Lists of images of a subset: CutLER's boxes are those of all of them, CorLoc is measured on trainval."""

SIZES = {(2007, "trainvaltest"): 9963, (2007, "trainval"): 5011, (2012, "trainval"): 11540}
"""Number of images of each set; the owners keep the annotations of the test images of 2012."""


def prepare_voc(root: Path, *, difficult: str = "count", subset: str = "trainvaltest", year: int = 2007) -> Prepared:
    """Convert ``voc/VOC<year>/Annotations/*.xml``.

    Args:
        root: folder of the data sets.
        difficult: one of `DIFFICULT`; which one the published file uses is not documented.
        subset: one of `SUBSETS`.
        year: 2007 or 2012.

    Raises:
        UnsegError: a choice does not exist, or a file is missing or damaged.
    """
    if difficult not in DIFFICULT:
        raise UnsegError(f"--difficult is {difficult!r}, but must be one of {', '.join(DIFFICULT)}.")
    if (year, subset) not in SIZES:
        raise UnsegError(f"VOC {year} has no {subset} with annotations; add --subset trainval.")
    folder = root / f"voc/VOC{year}"
    parts = " and ".join(SUBSETS[subset])
    protocol = f"VOC {year} {parts}, boxes of all classes as one class. {DIFFICULT[difficult]}"
    target = root / f"voc/annotations/{subset}_{year}_cls_agnostic.json"
    source = f"VOC{year}/Annotations"
    with coco_writer(target, source=source, protocol=protocol, full=SIZES[year, subset]) as writer:
        for name in _names(folder, SUBSETS[subset]):
            if not name.replace("_", "").isdecimal():
                raise UnsegError(
                    f"The lists of VOC {year} name {name!r}, but names are numbers: 000005 or 2007_000027."
                )
            path = folder / "Annotations" / f"{name}.xml"
            with one_record(path):
                tree = _read(path)
                size = _numbers(tree.find("size"), VocSize, path, "the size of the image")
                image = {"id": int(name.replace("_", "")), "file_name": f"VOC{year}/JPEGImages/{name}.jpg"}
                image |= {"height": int(size.height), "width": int(size.width)}
                writer.add(image, _objects(tree, path, difficult, writer))
    return writer.prepared


def _names(folder: Path, splits: tuple[str, ...]) -> list[str]:
    names = []
    for split in splits:
        path = folder / "ImageSets/Main" / f"{split}.txt"
        if not path.is_file():
            raise UnsegError(
                f"There is no file {path}; unpack the archive of VOC's {split} images so that {folder} is its "
                f"{folder.name}."
            )
        names += " ".join(read_lines(path)).split()
    return sorted(names)


def _objects(tree: ElementTree.Element, path: Path, difficult: str, writer: CocoWriter) -> Iterator[dict[str, Any]]:
    """Yield boxes; VOC counts pixels from 1 and the last one belongs to the box."""
    for number, item in enumerate(tree.iter("object"), start=1):
        is_difficult = item.findtext("difficult", "0").strip() == "1"
        if is_difficult and difficult == "drop":
            writer.leave_out("difficult")
            continue
        side = _numbers(item.find("bndbox"), VocBox, path, f"the box of object {number}")
        box = [side.xmin - 1, side.ymin - 1, side.xmax - side.xmin + 1, side.ymax - side.ymin + 1]
        yield {"bbox": box, "area": box[2] * box[3], "iscrowd": int(is_difficult and difficult == "crowd")}


def _read(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, LookupError, ElementTree.ParseError) as error:
        raise UnsegError(f"{path} is missing or not a VOC annotation: {error}.") from None


def _numbers(element: ElementTree.Element | None, kind: type[Parsed], path: Path, record: str) -> Parsed:
    """Return the numbers in the children of an element."""
    found = {} if element is None else {child.tag: (child.text or "").strip() for child in element}
    return convert(found, kind, f"{path}: ", record)
