"""Videos, frame by frame: nothing but the frame at work is held in memory, and nothing goes to the disk.

Shape legend
    H, W   height and width in pixels, as the video is to be shown: its rotation is applied
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from unseg_d2.data.pictures.formats import A_VIDEO, DAMAGED, NO_IMAGE, check_regular, what_it_is
from unseg_d2.data.pictures.reading import MIN_SIDE, ImageProblem
from unseg_d2.errors import missing_extra
from unseg_d2.storage.access import StoredFile

if TYPE_CHECKING:
    import av

logger = logging.getLogger(__name__)

CONTAINERS = "avi,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,ogg,asf,flv"
"""FFmpeg's names of what is read. No pictures, and no playlists, which could name any other file or address."""
UNKNOWN_RATE = Fraction(25)
"""Frames per second of a video that does not say."""
A_PICTURE = "a picture, whose ending should say so"
FASTEST = 1000  # frames per second; what says more has ticks in place of frames


@dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
        number: place in the video, from 1.
        time: when it is shown, in seconds from the first frame.
        pixels: ``(H, W, 3)`` uint8 RGB.
    """

    number: int
    time: Fraction
    pixels: np.ndarray


def require_pyav() -> Any:
    """Return the library that reads and writes videos, PyAV.

    Raises:
        UnsegError: it is not installed; the message names the command that installs it.
    """
    try:
        import av
    except ImportError:
        raise missing_extra("av", "video") from None
    return av


class Film:
    """The frames of a video; iterating decodes them one by one, once.

    Args:
        path: of the video.
        step: every ``step``-th frame is yielded, from the first on.

    Attributes:
        rate: frames per second on average, of all frames.
        length: number of frames as the file states it, 0 where it does not.
        size: H and W of all frames; a later frame of another size is scaled to it.
        pixel_aspect: width of a pixel in relation to its height, ``None`` where they are square or the file is silent.
        has_sound: whether there is sound, which nobody reads.
        damaged: packets that could not be decoded so far.

    Raises:
        ImageProblem: it is no video, has no frame that can be decoded, or is too small.
        UnsegError: PyAV is not installed.
    """

    def __init__(self, path: Path, *, step: int = 1) -> None:
        self._av, self._step, self.damaged = require_pyav(), step, 0
        self._file = _opened(path)
        try:
            # titles and names of tracks are in any encoding, and nobody reads them
            self._container = self._av.open(
                self._file, options={"format_whitelist": CONTAINERS}, metadata_errors="replace"
            )
            if not self._container.streams.video:
                raise ImageProblem("no pictures in it, only sound or text")
            self._read_facts(self._container.streams.video[0])
        except (self._av.error.FFmpegError, ImageProblem) as problem:
            self._file.close()
            raise problem if isinstance(problem, ImageProblem) else _reason(path, problem) from None

    def _read_facts(self, stream: av.VideoStream) -> None:
        stream.thread_type = "AUTO"
        rate = stream.average_rate or stream.guessed_rate
        self.rate = Fraction(rate) if rate and 0 < rate < FASTEST else UNKNOWN_RATE
        self.length, self.has_sound = stream.frames, bool(self._container.streams.audio)
        self._frames = self._decode(stream)
        first = next(self._frames, None)
        if first is None:
            raise ImageProblem("a video without a frame that can be decoded")
        turned, aspect = bool(round(first.rotation / 90) % 2), stream.sample_aspect_ratio
        self.pixel_aspect = None if not aspect or aspect == 1 else 1 / aspect if turned else aspect
        self.size = (first.width, first.height) if turned else (first.height, first.width)
        if min(self.size) < MIN_SIDE:
            raise ImageProblem(f"{self.size[0]}x{self.size[1]} pixels; at least {MIN_SIDE}x{MIN_SIDE} are needed")
        self._frames = itertools.chain([first], self._frames)

    def _decode(self, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        """Yield all frames; FFmpeg's order is that in which they are shown."""
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                yield from packet.decode()
            except self._av.error.InvalidDataError:
                self.damaged += 1
            except (self._av.error.FFmpegError, EOFError):  # the rest is out of reach
                self.damaged += 1
                return

    def __iter__(self) -> Iterator[Frame]:
        start: Fraction | None = None
        time = -1 / self.rate
        for index, frame in enumerate(self._frames):
            stamp = None if frame.pts is None or not frame.time_base else frame.pts * frame.time_base
            start = stamp if start is None else start
            later = None if stamp is None or start is None else stamp - start
            time = later if later is not None and later > time else time + 1 / self.rate  # no stamp, or a wrong one
            if index % self._step == 0:
                yield Frame(index + 1, time, self._pixels(frame))

    def _pixels(self, frame: av.VideoFrame) -> np.ndarray:
        quarters = round(frame.rotation / 90) % 4  # counter-clockwise
        height, width = self.size if quarters % 2 == 0 else self.size[::-1]
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
        return np.ascontiguousarray(np.rot90(pixels, quarters))

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()
        self._file.close()


def _opened(path: Path) -> Any:
    """Open the file itself: FFmpeg takes a name for an address, and ends at one that is not UTF-8."""
    try:
        check_regular(StoredFile(path))
        if path.stat().st_size == 0:
            raise ImageProblem("zero bytes")
        return path.open("rb")
    except OSError as error:
        raise ImageProblem((error.strerror or str(error)).lower()) from None


def _reason(path: Path, error: Exception) -> ImageProblem:
    """Say what is wrong with a file that FFmpeg does not open."""
    what = what_it_is(StoredFile(path))
    if what in (A_VIDEO, NO_IMAGE):
        return ImageProblem("not a video that can be read: damaged, or of another kind than MP4, AVI, MKV, WebM, MPEG")
    return ImageProblem(f"not a video: {A_PICTURE if what == DAMAGED else what}")
