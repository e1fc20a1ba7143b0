"""A video that is written frame by frame and appears only if it can be read again."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from unseg_d2.data.media import utf8_path
from unseg_d2.errors import UnsegError
from unseg_d2.files import explained, temporary_folder

logger = logging.getLogger(__name__)


class VideoFile:
    """Writes an MP4 file; OpenCV's encoder says nothing about a full disk, so the result is read again.

    Args:
        path: the file to make or replace.
        rate: frames per second.
        size: height and width of the frames in pixels.

    Raises:
        UnsegError: the folder cannot be written.
    """

    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        self.path = path
        self._frames = 0
        self._folder = ExitStack()
        try:
            self._passing = (
                self._folder.enter_context(temporary_folder(path)) / "video.mp4"
            )  # OpenCV goes by the ending
        except OSError as error:
            raise explained(error, path) from error
        with utf8_path(self._passing.parent) as folder:
            name = os.path.join(folder, self._passing.name)
            self._writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"mp4v"), rate, (size[1], size[0]))
        self.opened = self._writer.isOpened()
        if not self.opened:
            logger.warning("OpenCV has no encoder for %s here; the overlays of its frames are written alone.", path)

    def write(self, frame: np.ndarray) -> None:
        """Append a frame ``(H, W, 3)`` uint8 BGR."""
        if self.opened:
            self._writer.write(frame)
            self._frames += 1

    def close(self, *, complete: bool = True) -> None:
        """Finish the file and give it its name.

        Args:
            complete: with ``False``, after an error, what was written is removed.

        Raises:
            UnsegError: the file cannot be read again, or holds fewer frames than were written.
        """
        self._writer.release()
        with self._folder:
            if not self.opened or not complete:
                return
            readable = _frames_of(self._passing)
            if readable < self._frames:
                raise UnsegError(
                    f"{self.path} was not written: {readable} of its {self._frames} frames can be read again. "
                    "Is the disk full? Free some space and run the same command again."
                )
            try:
                os.replace(self._passing, self.path)
            except OSError as error:
                raise explained(error, self.path) from error


def _frames_of(path: Path) -> int:
    """Return how many frames of a video can be decoded."""
    with utf8_path(path) as name:
        capture = cv2.VideoCapture(name)
    count = 0
    try:
        while capture.isOpened() and capture.grab():
            count += 1
    finally:
        capture.release()
    return count
