"""A label set as one COCO file: written as a stream from finished shards, or from memory; and read again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from unseg_d2.data.annotations.assemble import assemble
from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.entries import Irregular
from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.annotations.lines import scan_lines
from unseg_d2.data.annotations.sources import Files
from unseg_d2.data.annotations.structs import Category, Content
from unseg_d2.data.coco import CocoDataset, index_content, open_coco
from unseg_d2.data.pictures.report import Treatments
from unseg_d2.data.spec import relative_root, split_spec, stated_root
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.pseudo.shards import ShardFolder
from unseg_d2.pseudo.tally import Tally, advice
from unseg_d2.storage.access import resolved
from unseg_d2.storage.addresses import STORES, scheme_of
from unseg_d2.supervision import from_info, sentence

CATEGORIES = [{"id": 1, "name": "fg", "supercategory": "fg"}]

_IMAGE_KEYS = ("id", "file_name", "height", "width", "proposals_left_out")


def read_label_set(path: str | Path) -> CocoDataset:
    """Read a label set.

    Args:
        path: a COCO file, or the folder of a label set; of one that is still being made, the finished shards.

    Raises:
        UnsegError: there is no label set, or it is damaged.
    """
    return open_label_set(path).dataset()


def open_label_set(path: str | Path) -> AnnotationIndex:
    """Return what reads a label set one image at a time; whether masks are damaged shows when they are read.

    For arguments and errors see `read_label_set`. Neither a file nor shards are held in memory.
    """
    path = Path(path)
    if not path.is_dir():
        return open_coco(path)
    if (path / "labels.json").is_file():
        return open_coco(path / "labels.json")
    shards = ShardFolder(path)
    shards.load()
    finished = [shard for shard in range(shards.num_shards) if shards.is_finished(shard)]
    try:
        files = Files([shards.path(shard) for shard in finished])
        scan, source, numbers = scan_lines(files, [len(shards.positions(shard)) for shard in finished], f"{path}: ")
        files.check()
    except Irregular:
        content = {"images": list(_images(shards)), "annotations": list(_annotations(shards))}
        return index_content(content | {"info": _info(shards), "categories": CATEGORIES}, path)
    about = Content([], categories=[Category(1, "fg")], info=_info_with(shards, Tally.of(numbers)))
    counts = Counts()
    index = assemble(scan, source, about, lambda name: None, counts, f"{path}: ")
    counts.say("the annotations")
    return index


def labels_file(labels: Path | str) -> Path:
    """Return the COCO file of a label set that is named as a file, a folder or ``labels.json::image/root``."""
    path = Path(split_spec(labels)[0])
    return path / "labels.json" if path.is_dir() else path


def info_of(path: Path) -> dict[str, Any]:
    """Return what a file of `write_label_set` says about itself; only its first line is read, others say nothing."""
    with open(path, "rb") as file:
        line = file.readline().rstrip(b",\n")
    try:
        info = json.loads(line + b"}")["info"]
    except (ValueError, KeyError, TypeError):
        return {}
    return info if isinstance(info, dict) else {}


def remembers_root(path: Path, root: Path) -> bool:
    """Return whether a file of `write_label_set` says that its images are in a folder; only its first line is read."""
    named = info_of(path).get("image_root")
    if not isinstance(named, str) or scheme_of(named) not in ("", *STORES):
        return False
    return resolved(stated_root(named, path.resolve().parent)) == resolved(root)


def export(folder: str | Path, output: str | Path | None = None, *, partial: bool = False) -> Path:
    """Write the shards of a label set as one COCO file.

    Neither the images nor the annotations are held in memory. ``folder/failures.jsonl`` gets a line ``{"file_name",
    "reason"}`` per image that could not be used and per file that looks like one and is not read.

    Args:
        folder: the label set.
        output: COCO file to write, ``folder/labels.json`` by default.
        partial: take what is finished of a label set that is still being made; needs ``output``.

    Returns:
        The file that was written.

    Raises:
        UnsegError: there is no label set, it is not finished, it has no usable image, or the disk is full.
    """
    shards = ShardFolder(folder)
    shards.load()
    missing = shards.num_missing()
    if missing and not (partial and output):
        raise UnsegError(
            f"{folder} is not finished: {missing} of {shards.manifest['num_images']} images are still to be done. Run "
            "the command that made it again, or export what is there with --partial and --output."
        )
    failures = shards.folder / "failures.jsonl"
    failed = _write_failures(shards, failures)
    if failed == shards.manifest["num_images"]:
        first = next(shards.lines())
        raise UnsegError(
            f"None of the {failed} images could be used; the first is {first['file_name']} ({first['failure']}). "
            f"All are named in {failures}."
        )
    output = Path(output) if output else shards.folder / "labels.json"
    info = _info(shards)
    if "image_root" in info:  # relative to the label set's folder
        info["image_root"] = relative_root(stated_root(info["image_root"], shards.folder.resolve()), output.parent)
    write_label_set(output, info, _images(shards), _annotations(shards))
    return output


def headline(labels: Path) -> str:
    """Say in a line how many masks a file of `write_label_set` has; only its first line is read."""
    counts = Tally.from_info(info_of(labels))
    return f"{counts.line()}: {labels}" if counts else str(labels)


def summarise(folder: str | Path, labels: str | Path | None = None) -> str:
    """Say in a few lines how many masks a label set has, what failed, where it is, and what to change if it is empty.

    Args:
        folder: the label set.
        labels: its COCO file, ``folder/labels.json`` by default.

    Raises:
        UnsegError: there is no label set.
    """
    shards = ShardFolder(folder)
    shards.load()
    failures = capped = 0
    treatments = Treatments()
    for line in shards.lines():
        failures += "failure" in line
        capped += "proposals_left_out" in line
        treatments.add(line.get("treatment", {}))
    counts = tally(shards)
    labels = Path(labels) if labels else shards.folder / "labels.json"
    text = [f"{counts.line()}: {labels if labels.is_file() else shards.folder}"]
    skipped = failures + shards.others.num_problems
    if skipped and (shards.folder / "failures.jsonl").is_file():
        text.append(f"{skipped} {'file' if skipped == 1 else 'files'} not usable: {shards.folder / 'failures.jsonl'}")
    if others := shards.others.line():
        text.append(others)
    if capped:
        text.append(f"{capped} images had more proposals than MASKS.MAX_PROPOSALS; the best were taken.")
    text += treatments.lines()
    if learnt := sentence(from_info(shards.manifest)):
        text.append(f"{learnt[0].upper()}{learnt[1:]}.")
    if shards.unfinished():
        text.append(f"{shards.num_missing()} of {shards.manifest['num_images']} images are still to be done.")
    if remedy := advice(counts, shards.manifest):
        text.append(remedy)
    return "\n".join(text)


def write_label_set(
    path: str | Path,
    info: dict[str, Any] | Callable[[], dict[str, Any]],
    images: Iterable[dict[str, Any]],
    annotations: Iterable[dict[str, Any]],
    categories: Sequence[dict[str, Any]] = CATEGORIES,
    videos: Sequence[dict[str, Any]] = (),
) -> None:
    """Write a COCO file, an entry per line, completely or not at all.

    Args:
        path: the file.
        info: what made it; a function is called when all annotations were taken. Until it has returned they are in a
            temporary file without a name, beside the other.
        images: COCO images.
        annotations: COCO annotations; ids are given from 1 on.
        categories: of the annotations, by default one.
        videos: that images name with ``video_id``, if any.

    Raises:
        UnsegError: the disk is full.
    """
    numbered = ({"id": index + 1} | annotation for index, annotation in enumerate(annotations))
    with atomic_write(path) as file, ExitStack() as stack:
        kept: BinaryIO | None = None
        if callable(info):
            kept = stack.enter_context(TemporaryFile(dir=Path(path).parent))
            _write_list(kept, "annotations", numbered)
            info = info()
        file.write(b'{"info":' + _json(info) + b',\n"licenses":[],\n"categories":' + _json(list(categories)) + b",\n")
        if videos:
            _write_list(file, "videos", videos)
            file.write(b",\n")
        _write_list(file, "images", images)
        file.write(b",\n")
        if kept is None:
            _write_list(file, "annotations", numbered)
        else:
            kept.seek(0)
            shutil.copyfileobj(kept, file, 1 << 20)
        file.write(b"}\n")


def tally(shards: ShardFolder) -> Tally:
    """Return the counts of the finished shards of a label set."""
    return Tally.of_lines(line for line in shards.lines() if "failure" not in line)


def _images(shards: ShardFolder) -> Iterator[dict[str, Any]]:
    return ({key: line[key] for key in _IMAGE_KEYS if key in line} for line in shards.lines() if "failure" not in line)


def _annotations(shards: ShardFolder) -> Iterator[dict[str, Any]]:
    for line in shards.lines():
        for annotation in line.get("annotations", []):
            yield {"image_id": line["id"], "category_id": 1, "iscrowd": 0} | annotation


def _info(shards: ShardFolder) -> dict[str, Any]:
    return _info_with(shards, tally(shards))


def _info_with(shards: ShardFolder, counts: Tally) -> dict[str, Any]:
    info = {"description": "pseudo-masks by unseg_d2"} | shards.manifest | {"counts": counts.to_info()}
    return {key: value for key, value in info.items() if key not in ("not_images", "shard_size")}


def _write_failures(shards: ShardFolder, path: Path) -> int:
    """Write the names and reasons of unusable files; returns the number of unusable images."""
    count = 0
    with atomic_write(path) as file:
        for line in shards.lines():
            if "failure" in line:
                count += 1
                file.write(_json({"file_name": line["file_name"], "reason": line["failure"]}) + b"\n")
        for name, reason in shards.others.problems():
            file.write(_json({"file_name": name, "reason": reason}) + b"\n")
    return count


def _write_list(file: BinaryIO, name: str, items: Iterable[dict[str, Any]]) -> None:
    file.write(_json(name) + b":[")
    for index, item in enumerate(items):
        file.write((b",\n" if index else b"\n") + _json(item))
    file.write(b"\n]")


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
