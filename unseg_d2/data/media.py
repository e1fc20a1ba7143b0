"""Images and videos named on the command line."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unseg_d2.data.images import scan_folder
from unseg_d2.data.others import VIDEOS
from unseg_d2.errors import UnsegError
from unseg_d2.storage.access import is_folder, is_there
from unseg_d2.storage.addresses import to_path, to_text
from unseg_d2.storage.patterns import expanded, is_pattern

logger = logging.getLogger(__name__)


@dataclass
class Media:
    """The files behind the names.

    Attributes:
        images: absolute paths, each once; see `unseg_d2.storage.access`.
        videos: absolute paths, each once.
        others: absolute paths of files in named folders that look like pictures and are not read, and why.
    """

    images: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    others: dict[Path, str] = field(default_factory=dict)


def list_media(inputs: Sequence[str], *, without: Path | None = None) -> Media:
    """List the images and videos behind names of files, folders, archives, addresses and patterns.

    Args:
        inputs: a file, a folder (with its sub-folders), what else `scan_folder` takes, or a pattern such as
            ``photos/**/*.jpg``.
        without: folder of a command's own output; where it lies in a named folder, nothing in it is an input.

    Raises:
        UnsegError: one of them does not exist, or there is no image or video among them.
    """
    media = Media()
    for text in inputs:
        path = to_path(text)
        if path.exists() or is_there(path):
            _add(media, path, without)
            continue
        if not is_pattern(text):
            raise UnsegError(f"There is no file or folder {text}.")
        matches = [to_path(match) for match in expanded(text)]
        if not matches:
            raise UnsegError(f"No file matches {text}.")
        for match in matches:
            if not is_there(match):
                raise UnsegError(f"There is no file {to_text(match)}, which {text} names.")
            if not match.is_dir():
                _add(media, match)
    for name in ("images", "videos"):
        setattr(media, name, list(dict.fromkeys(Path(os.path.abspath(path)) for path in getattr(media, name))))
    if not media.images and not media.videos:
        raise UnsegError(f"There is no image or video in {', '.join(inputs)}.")
    return media


def _add(media: Media, path: Path, without: Path | None = None) -> None:
    if is_folder(path):
        folder = scan_folder(path, without=without)
        media.images += [image.path for image in folder.images]
        media.videos += [video.path for video in folder.videos]
        media.others |= {Path(os.path.abspath(path / name)): reason for name, reason in folder.others.problems()}
        if line := folder.others.line():
            logger.info("%s: %s", path, line)
    else:
        (media.videos if path.suffix.lower() in VIDEOS else media.images).append(path)
