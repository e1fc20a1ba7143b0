"""The images of a label set: those of a folder, or those that a COCO file or a data set lists."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.annotations.locate import locate
from unseg_d2.data.annotations.names import ImageFolder, inside
from unseg_d2.data.builtin import BUILTIN
from unseg_d2.data.catalog import GENERATED, load_dataset
from unseg_d2.data.coco import find_image_root, open_coco, resolve_image
from unseg_d2.data.frames import videos_of
from unseg_d2.data.others import Others, ending
from unseg_d2.data.scan import no_images, scan_images
from unseg_d2.data.spec import split_spec
from unseg_d2.errors import UnsegError
from unseg_d2.storage.access import is_folder, resolved
from unseg_d2.storage.addresses import to_text
from unseg_d2.storage.patterns import image_root, is_pattern


@dataclass(frozen=True)
class Inputs:
    """The images of a label set, in its order.

    Attributes:
        root: absolute folder that the file names are relative to.
        ids: image ids; those of the COCO file, or 1, 2, ... for a folder.
        file_names: relative to ``root``, with forward slashes.
        others: files of the folder that are no images.
        lost_videos: see :func:`lost_videos`.
    """

    root: Path
    ids: list[Any]
    file_names: list[str]
    others: Others = field(default_factory=Others)
    lost_videos: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def checksum(self) -> str:
        """Hash of ids and names: another list of images is another label set."""
        return hashlib.sha256(json.dumps([self.ids, self.file_names]).encode()).hexdigest()


def list_inputs(images: str | Path, cfg: CfgNode, *, without: Path | None = None) -> Inputs:
    """List the images that a user names on the command line.

    Args:
        images: a folder or what else `scan_images` takes, a COCO file (``labels.json`` or
            ``labels.json::image/root``), or the name of a data set.
        cfg: its ``DATASETS`` and ``SYNTHETIC`` settings serve the names of data sets.
        without: folder of a command's own output; where it lies in a folder of images, nothing in it is one of them.

    Raises:
        UnsegError: there is no such folder, file or data set, or no image in it.
    """
    path, root = split_spec(images)
    if path not in BUILTIN and path not in GENERATED:
        is_file = path.lower().endswith(".json") and not is_folder(path)
        if path and not is_file and (is_folder(path) or is_pattern(path)):
            if root:
                raise UnsegError(f"{path} is a folder of images, on which ::{root} has no effect; leave that out.")
            return _from_folder(path, without)
        if is_file:
            return _from_coco(Path(path), root)
        if os.sep in path:
            raise UnsegError(f"There is no folder {path}.")
    return _from_records(str(images), cfg)


def lost_videos(index: AnnotationIndex) -> int:
    """Return how many videos a COCO file states that a label set of its images will not show.

    Label sets that are made of images have no ``video_id`` and no ``frame_id``: which images are a video follows from
    folders and the numbers in names (`data.frames.videos_of`).

    Returns:
        0 where these say the same, or nothing is stated.
    """
    if "video_id" not in next(iter(index.images()), {}):
        return 0
    frames = [{**frame, "height": 1, "width": 1} for frame in index.images()]  # sizes do not matter here
    plain = [{key: value for key, value in frame.items() if key not in ("video_id", "frame_id")} for frame in frames]
    try:
        stated = videos_of(frames)
    except UnsegError:  # so they are no videos here either
        return 0
    try:
        found = {video.positions for video in videos_of(plain)}
    except UnsegError:
        return len(stated)
    return sum(video.positions not in found for video in stated)


def _from_folder(named: str, without: Path | None) -> Inputs:
    root, folder = scan_images(named, without=without)
    if not folder.images:
        raise no_images(named, root, folder)
    for video in folder.videos:
        folder.others.add(video.file_name, ending(video.file_name), "a video, not an image")
    names = [image.file_name for image in folder.images]
    return Inputs(resolved(root), list(range(1, len(names) + 1)), names, folder.others)


def _from_coco(path: Path, root: str) -> Inputs:
    index = open_coco(path, need_annotations=False)
    if not len(index):
        raise UnsegError(f"{path} lists no images.")
    folder = image_root(root) if root else find_image_root(index, path)
    if not is_folder(folder):
        raise UnsegError(f"There is no folder {to_text(folder)}.")
    stated = list(index.names())
    located, there = locate(lambda: stated, stated.__getitem__, folder, path), ImageFolder(folder)
    for position in located.missing.tolist():
        resolve_image(folder, stated[position])
    for position, name in enumerate(stated):
        found = there.find(name) if located.renamed[position] else inside(there.root, name)
        stated[position] = found or name
    return Inputs(resolved(folder), list(index.ids()), stated, lost_videos=lost_videos(index))


def _from_records(name: str, cfg: CfgNode) -> Inputs:
    records = load_dataset(name, cfg)
    paths = [os.path.abspath(record["file_name"]) for record in records]
    if not paths:
        raise UnsegError(f"The data set {name} has no images.")
    root = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))
    names = [Path(path).relative_to(root).as_posix() for path in paths]
    return Inputs(root, [record["image_id"] for record in records], names)
