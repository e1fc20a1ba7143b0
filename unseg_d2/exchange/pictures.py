"""The pictures of an export: left where they are, linked, or copied beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.coco import CocoDataset, find_image_root, locate_images, resolve_image
from unseg_d2.errors import UnsegError
from unseg_d2.files import explained
from unseg_d2.storage.access import StoredFile, is_folder
from unseg_d2.storage.addresses import to_text

Placing = Literal["reference", "link", "copy"]
"""``reference`` leaves the pictures where they are, ``link`` makes symbolic links, ``copy`` copies."""


def located(dataset: CocoDataset, labels: Path, images: Path | None) -> tuple[CocoDataset, Path]:
    """Find the pictures of a data set.

    Args:
        dataset: what is exported.
        labels: file or folder that it was read from; the pictures are searched for near it.
        images: their folder, if it is known.

    Returns:
        The data set with the names that the pictures have on the disk, and their folder.

    Raises:
        UnsegError: they are not found.
    """
    root = find_pictures(dataset, [labels]) if images is None else images
    if not is_folder(root):
        raise UnsegError(f"There is no folder {to_text(root)}; name the folder of the images (--images).")
    found, missing = locate_images(dataset, root, labels)
    if missing:
        raise UnsegError(
            f"{len(missing)} of the {len(dataset.images)} images are not in {to_text(root)}; the first is "
            f"{missing[0]}. Put them there, or name their folder (--images)."
        )
    return found, root


def find_pictures(dataset: CocoDataset | AnnotationIndex, near: Sequence[Path]) -> Path:
    """Look for the pictures where a label set says they are, and near the given files.

    Args:
        dataset: the label set.
        near: files or folders of label sets, the first of them its own.

    Raises:
        UnsegError: they are not found, or lie outside this folder and that of the files.
    """
    for path in near:
        with contextlib.suppress(UnsegError):
            root = find_image_root(dataset, path / "labels.json" if path.is_dir() else path)
            break
    else:
        raise UnsegError(f"The images of {near[0]} were not found; name their folder (--images).")
    # A file from elsewhere could name any folder of this machine, whose pictures would be in a page for others.
    known = [Path.cwd(), *(path.resolve().parent.parent if path.is_file() else path.resolve().parent for path in near)]
    if not any(root.resolve().is_relative_to(folder) for folder in known if folder.parent != folder):
        raise UnsegError(
            f"{near[0]} says that its images lie in {to_text(root)}, outside this folder and its own; if that is "
            f"right, say so with --images {to_text(root)}."
        )
    return root


def place(root: Path, name: str, target: Path, placing: Placing) -> None:
    """Link or copy one picture.

    Args:
        root: folder of the pictures.
        name: of the picture in it.
        target: where it shall be; what is there is replaced if it is a link or a file.
        placing: ``link`` or ``copy``.

    Raises:
        UnsegError: the name leads out of the folder, the target cannot be written, or what is not on the disk shall be
            linked.
    """
    source = resolve_image(root, name)
    stored = StoredFile(source)
    if placing == "link" and not stored.is_on_disk:
        raise UnsegError(f"{to_text(source)} is no file on the disk that could be linked; use --images-as copy.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not stored.is_on_disk:
            target.unlink(missing_ok=True)
            target.write_bytes(stored.read())
            return
        if target.exists() and target.samefile(source) and not target.is_symlink():
            return  # the export lies where the pictures are
        target.unlink(missing_ok=True)
        if placing == "link":
            target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))
        else:
            shutil.copyfile(source, target)
    except OSError as error:
        raise explained(error, target) from error
