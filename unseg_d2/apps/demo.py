"""Run a detector or a saliency head over images and videos, and write what is found: pictures, label sets, tasks."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from pycocotools import mask as mask_utils

from unseg_d2.apps.salient_objects import SalientObjects
from unseg_d2.apps.video_file import VideoFile
from unseg_d2.data.classes import read_classes
from unseg_d2.data.images import ImageProblem, Reading
from unseg_d2.data.label_studio import LOCAL_FILES, labeling_config, to_task
from unseg_d2.data.media import Frames, Media, extract_frames
from unseg_d2.data.pictures.decode import read_picture
from unseg_d2.data.pictures.report import Treatments
from unseg_d2.data.records import Category
from unseg_d2.data.settings import InputSettings
from unseg_d2.data.spec import relative_root
from unseg_d2.detectors.detector import Detector
from unseg_d2.detectors.learnt import of_weights
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write, fitting_name, write_json
from unseg_d2.progress import progress_bar
from unseg_d2.pseudo.label_set import CATEGORIES, write_label_set
from unseg_d2.pseudo.tally import Tally
from unseg_d2.supervision import joined, to_info
from unseg_d2.viz.overlay_folder import drawn_name, overlay_path, refuse_among_inputs
from unseg_d2.zoo.store import learnt_from

logger = logging.getLogger(__name__)


@dataclass
class Demo:
    """What was written.

    Attributes:
        tally: number of images and frames that were processed, and of the instances on them.
        failures: ``{file_name, reason}`` of each input that could not be used.
        written: files and folders.
    """

    tally: Tally = field(default_factory=lambda: Tally.of([]))
    failures: list[dict[str, str]] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class DemoOptions:
    """What to write, and how.

    Attributes:
        formats: any of :data:`FORMATS`.
        frame_step: process every ``frame_step``-th frame of a video.
        image_prefix: what Label Studio's addresses of images start with.
    """

    formats: Sequence[str] = ("overlays",)
    frame_step: int = 1
    image_prefix: str = LOCAL_FILES


def run_demo(detector: Detector | SalientObjects, media: Media, *, output: Path, options: DemoOptions) -> Demo:
    """Predict and write.

    Args:
        detector: or a saliency head; its recipe sets the lowest score that is shown
            (``MODEL.ROI_HEADS.SCORE_THRESH_TEST``) and, of a detector, the number of images per batch
            (``TEST.IMS_PER_BATCH``).
        media: images and videos to process.
        output: folder for ``overlays/``, ``videos/``, ``frames/`` (of videos), ``predictions.json`` (a label set),
            ``label_studio.json`` and ``failures.jsonl``.
        options: what to write.

    Raises:
        UnsegError: none of the inputs can be used, one lies where results go, or the disk is full.
    """
    for folder in ("overlays", "videos", *(("frames",) if media.videos else ())):
        refuse_among_inputs(output / folder, media.images + media.videos)
    demo = Demo(failures=[{"file_name": str(path), "reason": why} for path, why in media.others.items()])
    videos = _extract(media.videos, Path(os.path.abspath(output), "frames"), options.frame_step, demo)
    files = media.images + [file for frames in videos.values() for file in frames.files]
    root, records = _readable(files, InputSettings.from_config(detector.cfg).reading, demo)
    _write_failures(demo, output / "failures.jsonl", [*media.images, *media.videos, *media.others])
    if not records:
        first = demo.failures[0]
        raise UnsegError(f"None of the inputs can be used; the first is {first['file_name']} ({first['reason']}).")
    images, annotations, categories = [], [], _categories(detector)
    ids = [category["id"] for category in categories] or 1
    painter = _Painter(output, videos, demo) if "overlays" in options.formats else contextlib.nullcontext()
    with painter as paint:
        predictions = detector.predictor.on_records(records)
        for prediction in _bar(predictions, "predict", len(records)):
            images.append({key: prediction.record[key] for key in ("height", "width")})
            images[-1] |= {"id": prediction.record["image_id"], "file_name": prediction.record["name"]}
            annotations.append(to_annotations(prediction, ids))
            if paint:
                paint(prediction)
    demo.tally = Tally.of(map(len, annotations))
    _write_files(output, root, detector, images, annotations, categories, options, demo)
    return demo


def to_annotations(prediction: Prediction, category_id: int | Sequence[int] = 1) -> list[dict[str, Any]]:
    """Return COCO annotations without ids: results with ``area`` and ``iscrowd``.

    Args:
        prediction: of an image.
        category_id: see `Prediction.to_coco`.
    """
    annotations = prediction.to_coco(category_id)
    for annotation in annotations:
        area = annotation["bbox"][2] * annotation["bbox"][3]
        if "segmentation" in annotation:
            area = float(mask_utils.area(annotation["segmentation"]))
        annotation |= {"area": area, "iscrowd": 0}
    return annotations


def _categories(detector: Detector | SalientObjects) -> list[Category]:
    """Return the categories of a detector of several classes, by name where its training wrote them; else none."""
    count = detector.cfg.MODEL.ROI_HEADS.NUM_CLASSES if isinstance(detector, Detector) else 1
    if count == 1:
        return []
    known = read_classes(detector.weights)
    if len(known) == count:
        return known
    return [{"id": number, "name": f"class {number}"} for number in range(1, count + 1)]


def _extract(videos: Iterable[Path], folder: Path, step: int, demo: Demo) -> dict[Path, Frames]:
    """Write the frames of all videos; one that cannot be read is recorded as a failure."""
    found: dict[Path, Frames] = {}
    names: set[str] = set()
    for video in videos:
        name = _free_name(video.name, names)
        names.add(name)
        try:
            logger.info("Reading the frames of %s.", video)
            found[folder / name] = extract_frames(video, folder / name, step=step)
        except ImageProblem as problem:
            demo.failures.append({"file_name": str(video), "reason": str(problem)})
    return found


def _free_name(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken: ``film.mp4``, ``film_2.mp4``, ...

    >>> _free_name("film.mp4", {"film.mp4", "film_2.mp4"})
    'film_3.mp4'
    """
    stem, ending = os.path.splitext(name)
    names = (fitting_name(f"{stem}_{number}", ending) for number in itertools.count(2))
    return name if name not in taken else next(other for other in names if other not in taken)


def _readable(files: Sequence[Path], reading: Reading, demo: Demo) -> tuple[Path, list[dict[str, Any]]]:
    """Return the folder that all names are relative to, and the records of the images that can be read."""
    root = Path(os.path.commonpath([file.parent for file in files]) if files else ".")
    records: list[dict[str, Any]] = []
    treatments = Treatments()
    for file in _bar(files, "read", len(files)):
        try:
            picture = read_picture(file, reading)
            height, width = picture.pixels.shape[:2]
        except ImageProblem as problem:
            demo.failures.append({"file_name": str(file), "reason": str(problem)})
            continue
        treatments.add(picture.treatment)
        record = {"file_name": str(file), "name": file.relative_to(root).as_posix(), "image_id": len(records) + 1}
        records.append(record | {"height": height, "width": width, "annotations": []})
    for line in treatments.lines():
        logger.info(line)
    return root, records


class _Painter:
    """Writes overlays as they come, and those of a video's frames as a video too."""

    def __init__(self, output: Path, videos: dict[Path, Frames], demo: Demo) -> None:
        self.output, self.videos, self.demo = output, videos, demo
        self.folder: Path | None = None  # frames of the video that is being written
        self.writer: VideoFile | None = None

    def __enter__(self) -> _Painter:
        self.demo.written.append(self.output / "overlays")
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._finish(complete=kind is None)

    def __call__(self, prediction: Prediction) -> None:
        file = Path(prediction.record["file_name"])
        drawn = cv2.cvtColor(prediction.draw(file), cv2.COLOR_RGB2BGR)
        with atomic_write(overlay_path(self.output / "overlays", prediction.record["name"])) as target:
            target.write(cv2.imencode(".jpg", drawn)[1].tobytes())
        if file.parent != self.folder:
            self._finish()
            if file.parent in self.videos:
                self._start(file.parent, drawn.shape)
        if self.writer:
            self.writer.write(drawn)

    def _start(self, folder: Path, shape: tuple[int, ...]) -> None:
        path = self.output / "videos" / drawn_name(folder.name, ".mp4")
        self.folder = folder
        self.writer = VideoFile(path, self.videos[folder].rate, (shape[0], shape[1]))
        if self.writer.opened:
            self.demo.written.append(path)

    def _finish(self, *, complete: bool = True) -> None:
        writer, self.folder, self.writer = self.writer, None, None
        if writer:
            writer.close(complete=complete)


def _write_files(
    output: Path,
    root: Path,
    detector: Detector | SalientObjects,
    images: list[dict[str, Any]],
    annotations: list[list[dict[str, Any]]],
    categories: list[Category],
    options: DemoOptions,
    demo: Demo,
) -> None:
    weights = detector.weights
    model = weights if weights.startswith("zoo:") else Path(weights).name
    if "coco" in options.formats:
        threshold = detector.cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST
        info: dict[str, Any] = {"description": "predictions by unseg_d2", "image_root": relative_root(root, output)}
        info |= {"weights": model, "score_threshold": threshold, "counts": demo.tally.to_info()}
        trust = detector.cfg.MODEL.TRUST_CHECKPOINT
        of_file = of_weights(weights, trust=trust) if isinstance(detector, Detector) else learnt_from(weights)
        info["supervision"] = to_info(joined([of_file]))
        path = output / "predictions.json"
        found = (annotation for of_image in annotations for annotation in of_image)
        write_label_set(path, info, images, found, categories or CATEGORIES)
        demo.written.append(path)
    if "labelstudio" in options.formats:
        if categories:
            count = len(categories)
            logger.info("Label Studio's tasks have one label for all %d classes; predictions.json has each.", count)
        tasks = [
            to_task(image, found, model=model, prefix=options.image_prefix) for image, found in zip(images, annotations)
        ]
        write_json(output / "label_studio.json", tasks)
        with atomic_write(output / "label_studio.xml") as file:
            file.write(labeling_config().encode())
        demo.written += [output / "label_studio.json", output / "label_studio.xml"]


def _write_failures(demo: Demo, path: Path, inputs: Sequence[Path]) -> None:
    """Write the failures, named relative to the folder of all inputs: where that lies is nobody's business."""
    path.unlink(missing_ok=True)  # of an earlier run
    root = os.path.commonpath([file.parent for file in inputs])
    for failure in demo.failures:
        failure["file_name"] = os.path.relpath(failure["file_name"], root)
    if demo.failures:
        with atomic_write(path) as file:
            file.write("".join(json.dumps(failure) + "\n" for failure in demo.failures).encode())


def _bar(items: Iterable[Any], what: str, total: int) -> Iterator[Any]:
    return iter(progress_bar(items, desc=what, unit="image", total=total))
