"""Run a detector or a saliency head over images and videos, and write what is found: pictures, label sets, tasks."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from unseg_d2.apps.demo_results import Demo, DemoOptions, categories_of, write_results
from unseg_d2.apps.films import FilmPlace, Films
from unseg_d2.apps.salient_objects import SalientObjects
from unseg_d2.apps.tracks import require_trackers
from unseg_d2.data.images import ImageProblem, Reading
from unseg_d2.data.media import Media
from unseg_d2.data.pictures.decode import read_picture
from unseg_d2.data.pictures.report import Treatments
from unseg_d2.data.settings import InputSettings
from unseg_d2.data.video import require_pyav
from unseg_d2.detectors.detector import Detector
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write, fitting_name
from unseg_d2.progress import progress_bar
from unseg_d2.pseudo.tally import Tally
from unseg_d2.viz.overlay_folder import overlay_path, refuse_among_inputs

logger = logging.getLogger(__name__)


def run_demo(detector: Detector | SalientObjects, media: Media, *, output: Path, options: DemoOptions) -> Demo:
    """Predict and write.

    Args:
        detector: or a saliency head; its recipe sets the lowest score that it finds
            (``MODEL.ROI_HEADS.SCORE_THRESH_TEST``) and, of a detector, the number of images per batch
            (``TEST.IMS_PER_BATCH``).
        media: images and videos to process.
        output: folder for ``overlays/`` of images, ``videos/``, ``frames/`` if they are kept, ``predictions.json`` (a
            label set), ``label_studio.json`` and ``failures.jsonl``.
        options: what to write.

    Raises:
        UnsegError: none of the inputs can be used, one lies where results go, the disk is full, an option has nothing
            to act on, or a library for videos is not installed.
    """
    check_options(media, options)
    for folder in ("overlays", "videos", *(("frames",) if options.keep_frames else ())):
        refuse_among_inputs(output / folder, media.images + media.videos)
    demo, absolute = Demo.of(media), Path(os.path.abspath(output))
    names = _free_names(media.videos)
    root = _common_root([*media.images, *(absolute / "frames" / name / "frame" for name in names)])
    films = [FilmPlace.below(output, root, video, name) for video, name in zip(media.videos, names)]
    records = _readable(media.images, root, InputSettings.from_config(detector.cfg).reading, demo)
    category_ids = [category["id"] for category in categories_of(detector)] or 1
    if records:
        _photos(detector, records, output, options, category_ids, demo)
    process = Films(detector, options, category_ids, demo)
    for film in films:
        process(film)
    demo.write_failures(output / "failures.jsonl")
    if not demo.images:
        first = demo.failures[0]
        raise UnsegError(f"None of the inputs can be used; the first is {first['file_name']} ({first['reason']}).")
    demo.tally = Tally.of(map(len, demo.annotations))
    write_results(output, root, detector, options, demo)
    return demo


def check_options(media: Media, options: DemoOptions) -> None:
    """Refuse options that have nothing to act on, and find the libraries for videos before any work.

    Raises:
        UnsegError: see `run_demo`.
    """
    if media.videos:
        require_pyav()
        if options.track:
            require_trackers()
        if "labelstudio" in options.formats and not options.keep_frames:
            raise UnsegError("Label Studio shows the frames of a video as pictures: add --keep-frames to store them.")
        return
    for flag, given in {
        "--track": options.track,
        "--keep-frames": options.keep_frames,
        "--frame-step": options.frame_step > 1,
    }.items():
        if given:
            raise UnsegError(f"{flag} is about videos, and there is none among the inputs; leave it out.")


def _photos(
    detector: Detector | SalientObjects,
    records: list[dict[str, Any]],
    output: Path,
    options: DemoOptions,
    category_ids: int | Sequence[int],
    demo: Demo,
) -> None:
    overlays = output / "overlays" if "overlays" in options.formats else None
    for found in _bar(detector.predictor.on_records(records), "predict", len(records)):
        prediction: Prediction = found.above(options.score_threshold)
        demo.add(prediction, category_ids)
        if overlays:
            drawn = cv2.cvtColor(prediction.draw(prediction.record["file_name"]), cv2.COLOR_RGB2BGR)
            with atomic_write(overlay_path(overlays, prediction.record["name"])) as target:
                target.write(cv2.imencode(".jpg", drawn)[1].tobytes())
    if overlays:
        demo.written.append(overlays)


def _free_names(videos: Iterable[Path]) -> list[str]:
    """Return a name for each video that no other has."""
    names: list[str] = []
    for video in videos:
        names.append(_free_name(video.name, names))
    return names


def _free_name(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken: ``film.mp4``, ``film_2.mp4``, ...

    >>> _free_name("film.mp4", {"film.mp4", "film_2.mp4"})
    'film_3.mp4'
    """
    stem, ending = os.path.splitext(name)
    names = (fitting_name(f"{stem}_{number}", ending) for number in itertools.count(2))
    return name if name not in taken else next(other for other in names if other not in taken)


def _common_root(files: Sequence[Path]) -> Path:
    """Return the folder that the names of all images are relative to."""
    return Path(os.path.commonpath([file.parent for file in files]) if files else ".")


def _readable(files: Sequence[Path], root: Path, reading: Reading, demo: Demo) -> list[dict[str, Any]]:
    """Return the records of the images that can be read."""
    records: list[dict[str, Any]] = []
    treatments = Treatments()
    for file in _bar(files, "read", len(files)) if files else ():
        try:
            picture = read_picture(file, reading)
            height, width = picture.pixels.shape[:2]
        except ImageProblem as problem:
            demo.fail(file, str(problem))
            continue
        treatments.add(picture.treatment)
        record = {"file_name": str(file), "name": file.relative_to(root).as_posix(), "image_id": len(records) + 1}
        records.append(record | {"height": height, "width": width, "annotations": []})
    for line in treatments.lines():
        logger.info(line)
    return records


def _bar(items: Iterable[Any], what: str, total: int) -> Iterator[Any]:
    return iter(progress_bar(items, desc=what, unit="image", total=total))
