"""Images and videos named on the command line, and the frames of a video as images."""

from __future__ import annotations

import glob
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from unseg_d2.data.images import ImageProblem, scan_folder
from unseg_d2.data.others import VIDEOS
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write

JPEG_QUALITY = 95  # of stored frames

logger = logging.getLogger(__name__)


@dataclass
class Media:
    """The files behind the names.

    Attributes:
        images: absolute paths, each once.
        videos: absolute paths, each once.
        others: absolute paths of files in named folders that look like pictures and are not read, and why.
    """

    images: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    others: dict[Path, str] = field(default_factory=dict)


def list_media(inputs: Sequence[str], *, without: Path | None = None) -> Media:
    """List the images and videos behind names of files, folders and glob patterns.

    Args:
        inputs: a file, a folder (with its sub-folders), or a pattern such as ``photos/**/*.jpg``.
        without: folder of a command's own output; where it lies in a named folder, nothing in it is an input.

    Raises:
        UnsegError: one of them does not exist, or there is no image or video among them.
    """
    media = Media()
    for text in inputs:
        if Path(text).exists():
            _add(media, Path(text), without)
            continue
        if not glob.has_magic(text):
            raise UnsegError(f"There is no file or folder {text}.")
        matches = sorted(glob.glob(os.path.expanduser(text), recursive=True))
        if not matches:
            raise UnsegError(f"No file matches {text}.")
        for match in matches:
            if not Path(match).is_dir():
                _add(media, Path(match))
    for name in ("images", "videos"):
        setattr(media, name, list(dict.fromkeys(Path(os.path.abspath(path)) for path in getattr(media, name))))
    if not media.images and not media.videos:
        raise UnsegError(f"There is no image or video in {', '.join(inputs)}.")
    return media


def _add(media: Media, path: Path, without: Path | None = None) -> None:
    if path.is_dir():
        folder = scan_folder(path, without=without)
        media.images += [image.path for image in folder.images]
        media.videos += [video.path for video in folder.videos]
        media.others |= {Path(os.path.abspath(path / name)): reason for name, reason in folder.others.problems()}
        if line := folder.others.line():
            logger.info("%s: %s", path, line)
    else:
        (media.videos if path.suffix.lower() in VIDEOS else media.images).append(path)


@dataclass(frozen=True)
class Frames:
    """The frames of a video that were kept.

    Attributes:
        files: JPEG files in order.
        rate: kept frames per second.
    """

    files: list[Path]
    rate: float


def extract_frames(video: Path, folder: Path, *, step: int = 1) -> Frames:
    """Write the frames of a video as JPEG files, one by one; the video is never held in memory as a whole.

    Args:
        video: file that OpenCV can read.
        folder: where ``000001.jpg``, ... go, numbered as in the video.
        step: keep every ``step``-th frame.

    Raises:
        ImageProblem: it cannot be read, or has no frame.
        UnsegError: the disk is full.
    """
    with utf8_path(video) as name:
        capture = cv2.VideoCapture(name)
    try:
        if not capture.isOpened():
            raise ImageProblem("not a video that OpenCV can read")
        files = []
        for number, frame in _read(capture, step):
            files.append(folder / f"{number:06d}.jpg")
            with atomic_write(files[-1]) as file:
                file.write(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
        if not files:
            raise ImageProblem("a video without a frame that OpenCV can read")
        rate = capture.get(cv2.CAP_PROP_FPS)
        return Frames(files, (rate if 0 < rate < 1000 else 25.0) / step)
    finally:
        capture.release()


@contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """Yield a name for a file or folder that OpenCV can open: it ends the process at one that is not UTF-8.

    Args:
        path: where the name is not UTF-8, a link in a temporary folder stands for it.
    """
    try:
        str(path).encode()
        yield str(path)
        return
    except UnicodeEncodeError:
        pass
    with tempfile.TemporaryDirectory(prefix="unseg_d2-") as folder:
        link = Path(folder, f"link{path.suffix if path.suffix.isascii() else ''}")
        link.symlink_to(os.path.abspath(path))
        yield str(link)


def _read(capture: cv2.VideoCapture, step: int) -> Iterator[tuple[int, cv2.typing.MatLike]]:
    """Yield every ``step``-th frame with its number from 1, as BGR."""
    number = 0
    while capture.grab():
        number += 1
        if (number - 1) % step == 0:
            readable, frame = capture.retrieve()
            if readable:
                yield number, frame
