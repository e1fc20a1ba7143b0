"""A video that is written frame by frame and appears only if it can be read again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import numpy as np

from unseg_d2.data.video import require_pyav
from unseg_d2.errors import UnsegError
from unseg_d2.files import explained, temporary_folder

CODEC = "libx264"  # H.264, which every browser plays
TICKS = 90_000  # per second: the times of the frames of all usual rates are whole numbers of them
QUALITY = {"crf": "20", "preset": "fast"}
_BT709, _LIMITED = 1, 1  # numbers of H.264 for colours of HD video, and for luma from 16 to 235


class VideoFile:
    """Writes an MP4 file: H.264, yuv420p, with the time at which each frame is shown.

    Args:
        path: the file to make or replace.
        rate: frames per second, on average.
        size: height and width of the frames in pixels. H.264 wants even numbers: the last row or column is repeated
            where one is odd.
        pixel_aspect: width of a pixel in relation to its height.

    Raises:
        UnsegError: PyAV is not installed or has no encoder, or the folder cannot be written.
    """

    def __init__(
        self, path: Path, rate: Fraction, size: tuple[int, int], *, pixel_aspect: Fraction | None = None
    ) -> None:
        self.path, self._size, self._frames = path, size, 0
        self._av, self._duration = require_pyav(), max(1, round(TICKS / rate))
        self._problems = (self._av.error.FFmpegError, OSError)
        if CODEC not in self._av.codecs_available:
            raise UnsegError("This PyAV has no encoder for H.264; install the wheel: pip install --force-reinstall av")
        self._folder = ExitStack()
        try:
            self._passing = self._folder.enter_context(temporary_folder(path)) / "video.mp4"
            name = self._folder.enter_context(_text(self._passing.parent)) / self._passing.name
            self._container = self._av.open(str(name), "w", options={"movflags": "+faststart"})
        except OSError as error:
            self._folder.close()
            raise explained(error, path) from error
        self._stream = self._container.add_stream(CODEC, rate=rate.limit_denominator(1001), options=QUALITY)
        self._stream.height, self._stream.width = (side + side % 2 for side in size)
        self._stream.pix_fmt, self._stream.time_base = "yuv420p", Fraction(1, TICKS)
        context = self._stream.codec_context
        context.time_base = Fraction(1, TICKS)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        if pixel_aspect:
            context.sample_aspect_ratio = pixel_aspect

    def write(self, pixels: np.ndarray, time: Fraction) -> None:
        """Append a frame.

        Args:
            pixels: ``(H, W, 3)`` uint8 RGB.
            time: when it is shown, in seconds; later than the frame before.

        Raises:
            UnsegError: the disk is full.
        """
        height, width = self._size
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(even, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base, frame.duration = round(time * TICKS), Fraction(1, TICKS), self._duration
        try:
            self._container.mux(self._stream.encode(frame))
        except self._problems as error:
            raise self._unwritten(error) from error
        self._frames += 1

    def close(self, *, complete: bool = True) -> None:
        """Finish the file and give it its name.

        Args:
            complete: with ``False``, after an error, what was written is removed.

        Raises:
            UnsegError: the disk is full, or the file holds fewer frames than were written.
        """
        with self._folder:
            if not complete:
                with suppress(*self._problems):
                    self._container.close()
                return
            try:
                self._container.mux(self._stream.encode(None))
                self._container.close()
                with self._passing.open("rb+") as file:
                    os.fsync(file.fileno())
            except self._problems as error:
                raise self._unwritten(error) from error
            readable = self._readable()
            if readable < self._frames:
                raise self._unwritten(f"{readable} of its {self._frames} frames can be read again")
            try:
                os.replace(self._passing, self.path)
            except OSError as error:
                raise explained(error, self.path) from error

    def _readable(self) -> int:
        """Return how many frames the file holds in whole."""
        with suppress(*self._problems), self._passing.open("rb") as file, self._av.open(file) as container:
            return sum(packet.size > 0 for packet in container.demux(video=0))
        return 0

    def _unwritten(self, why: Exception | str) -> Exception:
        if isinstance(why, OSError) and isinstance(clear := explained(why, self.path), UnsegError):
            return clear
        reason = getattr(why, "strerror", None) or str(why)
        return UnsegError(
            f"{self.path} was not written: {reason}. Is the disk full? Free some space and run the same command again."
        )


@contextmanager
def _text(folder: Path) -> Iterator[Path]:
    """Yield a name of a folder that FFmpeg can open: where its own is not UTF-8, a link stands for it."""
    try:
        str(folder).encode()
        yield folder
        return
    except UnicodeEncodeError:
        pass
    with tempfile.TemporaryDirectory(prefix="unseg_d2-") as place:
        link = Path(place, "link")
        link.symlink_to(folder.absolute())
        yield link
