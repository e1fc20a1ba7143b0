"""A detector or a saliency head over a video: frame by frame, as a video again, with identities if wanted."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unseg_d2.apps.demo_results import Demo, DemoOptions
from unseg_d2.apps.salient_objects import SalientObjects
from unseg_d2.apps.tracks import Tracks
from unseg_d2.apps.video_file import VideoFile
from unseg_d2.data.images import ImageProblem
from unseg_d2.data.video import Film, Frame
from unseg_d2.detectors.detector import Detector
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.files import atomic_write
from unseg_d2.progress import progress_bar
from unseg_d2.viz.overlay_folder import drawn_name

JPEG_QUALITY = 95  # of stored frames

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FilmPlace:
    """Where the results of a video go.

    Attributes:
        video: the file.
        name: of the video among the results, which no other has.
        frames: folder of its frames, which is made only where they are kept.
        root: that the names of frames in the label set are relative to.
        drawn: the video with what was found.
    """

    video: Path
    name: str
    frames: Path
    root: Path
    drawn: Path

    @classmethod
    def below(cls, output: Path, root: Path, video: Path, name: str) -> FilmPlace:
        """Return the places of a video below the folder of all results."""
        frames = Path(os.path.abspath(output), "frames", name)
        return cls(video, name, frames, root, output / "videos" / drawn_name(name, ".mp4"))


class Films:
    """Processes videos, one after the other.

    Args:
        detector: finds objects from the lowest score on that its recipe names.
        options: what to write.
        category_ids: see `Prediction.to_coco`.
        demo: takes what is found.
    """

    def __init__(
        self, detector: Detector | SalientObjects, options: DemoOptions, category_ids: int | Sequence[int], demo: Demo
    ) -> None:
        self._detector, self._options, self._category_ids, self._demo = detector, options, category_ids, demo

    def __call__(self, place: FilmPlace) -> None:
        """Process a video; one that cannot be read is recorded as a failure.

        Raises:
            UnsegError: the disk is full.
        """
        try:
            film = Film(place.video, step=self._options.frame_step)
        except ImageProblem as problem:
            self._demo.fail(place.video, str(problem))
            return
        with film:
            self._process(film, place)

    def _process(self, film: Film, place: FilmPlace) -> None:
        """Take every frame through the detector into the results."""
        drawn = _start(film, place, self._options) if "overlays" in self._options.formats else None
        number, count = len(self._demo.videos) + 1, 0
        try:
            for frame, prediction in self._found(film, place.name):
                count += 1
                file = place.frames / f"{frame.number:06d}.jpg"
                record = {"image_id": len(self._demo.images) + 1, "name": file.relative_to(place.root).as_posix()}
                where = {"video_id": number, "frame_id": frame.number - 1, "time": round(float(frame.time), 6)}
                self._demo.add(replace(prediction, record=record), self._category_ids, **where)
                if self._options.keep_frames:
                    _store(file, frame.pixels)
                if drawn:
                    drawn.write(prediction.draw(frame.pixels), frame.time)
        except BaseException:
            if drawn:
                drawn.close(complete=False)
            raise
        if drawn:
            drawn.close()
            self._demo.written.append(place.drawn)
        self._demo.videos.append(self._entry(film, place, number, count))

    def _entry(self, film: Film, place: FilmPlace, number: int, count: int) -> dict[str, Any]:
        """Return what the label set says of a video, and say what was left out of it."""
        height, width = film.size
        entry = {"id": number, "file_name": self._demo.name(place.video), "height": height, "width": width}
        entry |= {"length": count, "fps": round(float(film.rate), 6), "frame_step": self._options.frame_step}
        if film.damaged:
            entry["damaged"] = film.damaged
            logger.warning("%s: %d damaged parts could not be decoded and are left out.", place.name, film.damaged)
        return entry

    def _found(self, film: Film, name: str) -> Iterator[tuple[Frame, Prediction]]:
        """Yield the frames with what is found in them; only those of a batch are held in memory."""
        waiting: deque[Frame] = deque()

        def pixels() -> Iterator[np.ndarray]:
            for frame in film:
                waiting.append(frame)
                yield frame.pixels

        options, rate = self._options, film.rate / self._options.frame_step
        tracks = Tracks(rate, options.score_threshold) if options.track else None
        total = -(-film.length // options.frame_step) or None
        for prediction in progress_bar(
            self._detector.predictor.on_images(pixels()), desc=name, unit="frame", total=total
        ):
            frame = waiting.popleft()
            yield frame, tracks(prediction, frame.time) if tracks else prediction.above(options.score_threshold)


def _start(film: Film, place: FilmPlace, options: DemoOptions) -> VideoFile:
    """Begin to write a video, and say what of the original will not be in it, or that it was begun before."""
    if any(place.drawn.parent.glob(f".{_literal(place.drawn.name)}.tmp-*")):
        logger.info("An earlier run did not finish %s: it is begun anew.", place.drawn)
    if film.has_sound:
        logger.info("The sound of %s is left out.", place.name)
    rate = film.rate / options.frame_step
    return VideoFile(place.drawn, Fraction(rate), film.size, pixel_aspect=film.pixel_aspect)


def _literal(name: str) -> str:
    """Return a pattern that matches a name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _store(file: Path, pixels: np.ndarray) -> None:
    encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    with atomic_write(file) as target:
        target.write(encoded[1].tobytes())
