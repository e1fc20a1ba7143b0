"""Read and list images; whatever is wrong with a file is reported as one clear reason.

Shape legend
    H, W   height and width in pixels, after the camera's orientation has been applied
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from unseg_d2.data.others import NO_PICTURES, VIDEOS, Others, ending
from unseg_d2.data.pictures.decode import pillow_picture, read_picture
from unseg_d2.data.pictures.formats import (
    EXTENSIONS,
    NO_IMAGE,
    check_regular,
    describe_others,
    readable_formats,
    why_no_image,
)
from unseg_d2.data.pictures.reading import DEFAULT_READING, MAX_PIXELS, MIN_SIDE, ImageProblem, Reading
from unseg_d2.data.pictures.report import say_once
from unseg_d2.errors import UnsegError

__all__ = [
    "EXTENSIONS",
    "MAX_PIXELS",
    "MIN_SIDE",
    "Folder",
    "ImageFile",
    "ImageProblem",
    "Reading",
    "list_images",
    "pil_to_rgb",
    "read_image",
    "scan_folder",
]


@dataclass(frozen=True)
class ImageFile:
    """An image on disk.

    Attributes:
        path: of the file.
        file_name: its path relative to the root of the set, with forward slashes; unique in the set.
    """

    path: Path
    file_name: str


@dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes:
        images: files that look like images, sorted by ``file_name``.
        videos: files with the ending of a video, sorted by ``file_name``.
        others: every other file that is not hidden.
    """

    images: list[ImageFile]
    videos: list[ImageFile]
    others: Others


def read_image(path: str | Path, reading: Reading = DEFAULT_READING) -> np.ndarray:
    """Read an image as RGB.

    Transparency is laid over white, and of an animation the first frame is taken. Pictures of 8 bit keep their values,
    others are stretched; what is done to the first picture of a kind is logged.

    Args:
        path: file to read.
        reading: orientation, bands, values that become black and white, and the largest size.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ImageProblem: the file is missing, empty, truncated, not an image, too small or too large.
    """
    picture = read_picture(path, reading)
    say_once(Path(path), picture.treatment)
    return picture.pixels


def pil_to_rgb(image: Image.Image, reading: Reading = DEFAULT_READING) -> np.ndarray:
    """Convert a Pillow image of any mode as `read_image` does a file.

    Args:
        image: as Pillow opened or made it.
        reading: see `read_image`.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ImageProblem: the image is too small or too large, or its file, which Pillow reads on first use, is damaged.
    """
    return pillow_picture(image, reading).pixels


def scan_folder(root: str | Path, *, without: Path | None = None) -> Folder:
    """List the files below a folder, images and others apart.

    Sub-folders and links to folders are followed; names that start with a dot are left out. Files whose ending is that
    of no picture are not opened.

    Args:
        root: the folder.
        without: folder of a command's own output; where it lies below the root, nothing in it is listed.

    Raises:
        UnsegError: the folder does not exist.
    """
    root = Path(root)
    if not root.is_dir():
        raise UnsegError(f"There is no folder {root}.")
    images: list[ImageFile] = []
    videos: list[ImageFile] = []
    others = Others()
    own, above = os.path.realpath(without) if without else "", os.path.join(root, "")
    for path in _files(root, own if own.startswith(os.path.realpath(root) + os.sep) else ""):
        name = path[len(above) :].replace(os.sep, "/")
        suffix = ending(name)
        if suffix in EXTENSIONS:
            images.append(ImageFile(Path(path), name))
        elif suffix in VIDEOS:
            videos.append(ImageFile(Path(path), name))
        elif suffix in NO_PICTURES:
            others.add(name, suffix)
        elif _opens(Path(path)):
            images.append(ImageFile(Path(path), name))
        else:
            what = why_no_image(Path(path))
            others.add(name, suffix, "" if what == NO_IMAGE else what)
    for files in (images, videos):
        files.sort(key=lambda file: file.file_name)
    return Folder(images, videos, others)


def list_images(root: str | Path) -> list[ImageFile]:
    """List the images below a folder, sorted by their path relative to it.

    Raises:
        UnsegError: the folder does not exist, or holds no image.
    """
    folder = scan_folder(root)
    if not folder.images:
        names = [*(video.file_name for video in folder.videos[:1]), *folder.others.names()]
        count = len(folder.others) + len(folder.videos)
        files = f"none of its {count} files is one" if count else "it is empty"
        first = describe_others(Path(root), names)
        raise UnsegError(f"There is no image in {root}: {files}{f' ({first})' if first else ''}.")
    return folder.images


def _refuse(error: OSError) -> None:
    """Say that a folder cannot be read, instead of leaving its images out in silence."""
    raise UnsegError(
        f"The folder {error.filename} cannot be read: {error.strerror}; correct its permissions."
    ) from None


def _files(root: Path, own: str = "") -> Iterator[str]:
    """Yield the files below a folder; links are followed, except back to a folder above.

    Args:
        root: the folder.
        own: real path of a folder that is left out.
    """
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder) + os.sep
        below = {name: os.path.realpath(os.path.join(folder, name)) for name in folders if not name.startswith(".")}
        folders[:] = [name for name, path in below.items() if path != own and not real.startswith(path + os.sep)]
        yield from (os.path.join(folder, name) for name in names if not name.startswith("."))


def _opens(path: Path) -> bool:
    """Return whether Pillow recognises the first bytes of a file as one of the formats that are read."""
    try:
        check_regular(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(path, formats=readable_formats()).close()
        return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # Pillow's decoders raise nearly anything on damaged files
        return False
