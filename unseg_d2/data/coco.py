"""COCO annotation files on disk, and the records that detectors take."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.data.annotations import youtube_vis
from unseg_d2.data.annotations.assemble import assemble
from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.dataset import CocoDataset
from unseg_d2.data.annotations.entries import CHUNK, CutOff, Irregular, Repeated
from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.annotations.locate import locate_images
from unseg_d2.data.annotations.names import (
    ImageFolder,
    find_image_root,
    image_roots,
    picture_size,
    resolve_image,
)
from unseg_d2.data.annotations.panoptic import is_panoptic, separated
from unseg_d2.data.annotations.parse import convert, parse, read_bytes, read_json
from unseg_d2.data.annotations.scan import Scan, scan_file
from unseg_d2.data.annotations.sizes import Measure
from unseg_d2.data.annotations.sources import Files, FileSource, MemorySource, Source
from unseg_d2.data.annotations.structs import Content
from unseg_d2.data.records import image_record, record_annotation
from unseg_d2.errors import UnsegError
from unseg_d2.rle import decode_mask, encode_mask

__all__ = [
    "CocoDataset",
    "check_coco",
    "decode_mask",
    "encode_mask",
    "find_image_root",
    "locate_images",
    "open_coco",
    "read_coco",
    "read_json",
    "resolve_image",
    "to_records",
]


def read_coco(path: str | Path, *, need_annotations: bool = True) -> CocoDataset:
    """Read a COCO annotation file, a label set, LVIS or YouTube-VIS, and check that its parts fit together.

    What is left out or put right is counted and logged once: see `unseg_d2.data.annotations.assemble`.

    Args:
        path: the file.
        need_annotations: with ``False`` a bare list of images is accepted too.

    Raises:
        UnsegError: not JSON, a field holds something else than it should, the parts do not fit together, or a mask is
            damaged.
    """
    with _without_collector():
        return _opened(Path(path), need_annotations, {"images": [], "annotations": []}).dataset()


def open_coco(path: str | Path, *, need_annotations: bool = True) -> AnnotationIndex:
    """Return what reads a COCO annotation file one image at a time; whether masks are damaged shows when they are read.

    For arguments and errors see `read_coco`. A file of millions of entries is not held in memory.
    """
    with _without_collector():
        return _opened(Path(path), need_annotations)


def _opened(path: Path, need_annotations: bool, kept: dict[str, list[Any]] | None = None) -> AnnotationIndex:
    """Return the index of a file; with lists to keep the entries in, they are not read again."""
    where = f"{path}: "
    try:
        files = Files([path])
        scan, about = scan_file(path, kept)
        files.check()
        source: Source = FileSource(files) if kept is None else MemorySource(kept["images"], kept["annotations"])
    except CutOff as cut:
        raise _cut_off(path, str(cut)) from None
    except Repeated as key:
        raise UnsegError(f'{path} has the key "{key}" twice; put both lists into one.') from None
    except Irregular:
        content = parse(read_bytes(path), Content, str(path))
        scan, source, about = _in_memory(content, counts := Counts(), where, path)
    except UnsegError:
        if not youtube_vis.has_this_layout(path):
            raise
        scan, source, about = _in_memory(_frames(path), counts := Counts(), where, path)
    else:
        counts = Counts()
    _check_annotations(about, need_annotations, where)
    index = assemble(scan, source, about, _measure(about, path), counts, where)
    counts.say(path)
    return index


def _frames(path: Path) -> Content:
    """Return the content of a file of videos, as that of a file of frames."""
    stored = read_json(path)
    try:
        return convert(youtube_vis.to_frames(stored), Content)
    except UnsegError as error:
        raise UnsegError(f"{path}: {error}") from None


def _cut_off(path: Path, key: str) -> UnsegError:
    with path.open("rb") as file:
        lines = 1 + sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(CHUNK), b""))
    return UnsegError(
        f'{path} is not JSON: its list "{key}" does not end, and the file does in line {lines}; copy it again.'
    )


def check_coco(content: Any, *, need_annotations: bool = True) -> CocoDataset:
    """Check the content of a COCO annotation file, as `read_coco` does for a file.

    Args:
        content: what the JSON holds.
        need_annotations: with ``False`` a bare list of images is accepted too.

    Raises:
        UnsegError: see `read_coco`.
    """
    return index_content(content, need_annotations=need_annotations).dataset()


def index_content(content: Any, where: object = "", *, need_annotations: bool = True) -> AnnotationIndex:
    """Return the index of the content of a COCO annotation file; ``where`` it is from begins messages."""
    counts, parsed, prefix = Counts(), convert(content, Content), f"{where}: " if where else ""
    _check_annotations(parsed, need_annotations, prefix)
    index = assemble(*_in_memory(parsed, counts, prefix), lambda name: None, counts, prefix)
    counts.say(where or "the annotations")
    return index


def to_records(
    dataset: CocoDataset, image_root: str | Path, classes: Mapping[Any, int] | None = None
) -> list[dict[str, Any]]:
    """Turn a data set into Detectron2's standard dataset dicts, by default of one class.

    Args:
        dataset: what `read_coco` returned.
        image_root: folder that the file names are relative to.
        classes: id of each category to its class number; ``None`` gives all annotations class 0.

    Returns:
        Per image ``{file_name (absolute), image_id, height, width, annotations}`` and per annotation ``{bbox (XYWH,
        px), bbox_mode (1), category_id (class number), iscrowd, area}`` and, where present, ``score``,
        ``segmentation``, ``confidence`` and ``level``; ``done`` (True) of an image in which every object has its mask.

    Raises:
        UnsegError: a file name points outside ``image_root``.
    """
    annotations: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in dataset.images}
    for annotation in dataset.annotations:
        annotations[annotation["image_id"]].append(record_annotation(annotation, classes))
    root = str(image_root)
    return [image_record(image, root, annotations[image["id"]], image["file_name"]) for image in dataset.images]


def _in_memory(content: Content, counts: Counts, where: str, path: Path | None = None) -> tuple[Scan, Source, Content]:
    """Return the columns of what has been parsed already, where its entries are, and the content."""
    scan = Scan(where)
    try:
        if is_panoptic(content):
            source: MemorySource = separated(content, path, counts)
        else:
            source = MemorySource(content.images, content.annotations or [])
    except UnsegError as error:
        raise UnsegError(f"{where}{error}") from None
    scan.add_images(source.pictures, *_places(source.pictures))
    scan.add_annotations(source.entries, *_places(source.entries))
    return scan, source, content


def _places(entries: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(entries)), np.zeros(len(entries), np.int32)


def _check_annotations(content: Content, needed: bool, where: str) -> None:
    if needed and content.annotations is None:
        raise UnsegError(f'{where}the list "annotations" is missing, so this is not a COCO annotation file.')


def _measure(content: Content, path: Path) -> Measure:
    """Return what reads the size of a picture of a file, where the file does not state it."""
    stated = content.info.get("image_root") if isinstance(content.info, dict) else None
    folders = [ImageFolder(root) for root in image_roots(stated, path)]

    def measure(file_name: str) -> tuple[int, int] | None:
        found = next((Path(folder.root, name) for folder in folders if (name := folder.find(file_name))), None)
        return picture_size(found) if found else None

    return measure


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python from searching millions of new objects for cycles again and again; there are none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
