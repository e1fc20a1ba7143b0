"""What a demo has found, and the files that say it: a label set, tasks for Label Studio, and what could not be used."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycocotools import mask as mask_utils

from unseg_d2.apps.salient_objects import SalientObjects
from unseg_d2.apps.tracks import LOWEST_SCORE
from unseg_d2.data.classes import read_classes
from unseg_d2.data.label_studio import LOCAL_FILES, labeling_config, to_task
from unseg_d2.data.media import Media
from unseg_d2.data.records import Category
from unseg_d2.data.spec import relative_root
from unseg_d2.detectors.detector import Detector
from unseg_d2.detectors.learnt import of_weights
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.files import atomic_write, write_json
from unseg_d2.pseudo.label_set import CATEGORIES, write_label_set
from unseg_d2.pseudo.tally import Tally
from unseg_d2.supervision import joined, to_info
from unseg_d2.zoo.store import learnt_from

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DemoOptions:
    """What to write, and how.

    Attributes:
        formats: any of :data:`~unseg_d2.viz.formats.FORMATS`.
        score_threshold: lowest score that is shown, in [0, 1].
        frame_step: process every ``frame_step``-th frame of a video.
        track: follow objects through videos.
        keep_frames: store the frames of videos as JPEG files, which other commands need to show them.
        image_prefix: what Label Studio's addresses of images start with.
    """

    formats: Sequence[str] = ("overlays",)
    score_threshold: float = 0.0
    frame_step: int = 1
    track: bool = False
    keep_frames: bool = False
    image_prefix: str = LOCAL_FILES


@dataclass
class Demo:
    """What was found and written.

    Attributes:
        tally: number of images and frames that were processed, and of the instances on them.
        failures: ``{file_name, reason}`` of each input that could not be used; where the inputs lie together is
            nobody's business.
        written: files and folders.
        images: COCO's ``images``; frames have ``video_id``, ``frame_id`` from 0 and ``time`` in seconds.
        annotations: those of each image, without ids; with ``video_id`` and ``track_id`` in a tracked video.
        videos: ``videos`` as in YouTube-VIS: id, name, size, number of frames that were used, frames per second.
    """

    tally: Tally = field(default_factory=lambda: Tally.of([]))
    failures: list[dict[str, str]] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[list[dict[str, Any]]] = field(default_factory=list)
    videos: list[dict[str, Any]] = field(default_factory=list)
    _inputs: str = ""

    @classmethod
    def of(cls, media: Media) -> Demo:
        """Return one in which nothing was found yet, and whose failures are the files that are not read."""
        paths = [*media.images, *media.videos, *media.others]
        demo = cls(_inputs=os.path.commonpath([path.parent for path in paths]))
        for path, why in media.others.items():
            demo.fail(path, why)
        return demo

    def name(self, path: Path) -> str:
        """Return the name of an input, relative to the folder of all inputs."""
        return os.path.relpath(path, self._inputs)

    def fail(self, path: Path, reason: str) -> None:
        """Record that an input could not be used."""
        self.failures.append({"file_name": self.name(path), "reason": reason})

    def add(self, prediction: Prediction, category_ids: int | Sequence[int], **more: Any) -> None:
        """Record what was found in an image.

        Args:
            prediction: whose record has the image's id and, as ``name``, what it is called in the label set.
            category_ids: see `Prediction.to_coco`.
            **more: of a frame: where it is in which video.
        """
        height, width = prediction.size
        image = {"height": height, "width": width, "id": prediction.record["image_id"]}
        self.images.append(image | {"file_name": prediction.record["name"]} | more)
        found = to_annotations(prediction, category_ids)
        if "video_id" in more:
            found = [annotation | {"video_id": more["video_id"]} for annotation in found]
        self.annotations.append(found)

    def write_failures(self, path: Path) -> None:
        """Write the failures, or remove those of an earlier run."""
        path.unlink(missing_ok=True)
        if self.failures:
            with atomic_write(path) as file:
                file.write("".join(json.dumps(failure) + "\n" for failure in self.failures).encode())


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


def categories_of(detector: Detector | SalientObjects) -> list[Category]:
    """Return the categories of a detector of several classes, by name where its training wrote them; else none."""
    count = detector.cfg.MODEL.ROI_HEADS.NUM_CLASSES if isinstance(detector, Detector) else 1
    if count == 1:
        return []
    known = read_classes(detector.weights)
    if len(known) == count:
        return known
    return [{"id": number, "name": f"class {number}"} for number in range(1, count + 1)]


def write_results(
    output: Path, root: Path, detector: Detector | SalientObjects, options: DemoOptions, demo: Demo
) -> None:
    """Write what is asked for besides pictures.

    Args:
        output: folder of the results.
        root: that the names of the images are relative to.
        detector: that found them.
        options: what is asked for.
        demo: what was found; the files are added to it.
    """
    weights, categories = detector.weights, categories_of(detector)
    model = weights if weights.startswith("zoo:") else Path(weights).name
    if "coco" in options.formats:
        info: dict[str, Any] = {"description": "predictions by unseg_d2", "image_root": relative_root(root, output)}
        threshold = max(options.score_threshold, 0 if options.track else detector.cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST)
        info |= {"weights": model, "score_threshold": threshold, "counts": demo.tally.to_info()}
        if options.track:
            info["tracking"] = {"method": "ByteTrack", "lowest_score": min(LOWEST_SCORE, threshold)}
        trust = detector.cfg.MODEL.TRUST_CHECKPOINT
        of_file = of_weights(weights, trust=trust) if isinstance(detector, Detector) else learnt_from(weights)
        info["supervision"] = to_info(joined([of_file]))
        path = output / "predictions.json"
        found = (annotation for of_image in demo.annotations for annotation in of_image)
        write_label_set(path, info, demo.images, found, categories or CATEGORIES, videos=demo.videos)
        demo.written.append(path)
    if "labelstudio" in options.formats:
        if categories:
            count = len(categories)
            logger.info("Label Studio's tasks have one label for all %d classes; predictions.json has each.", count)
        pairs = zip(demo.images, demo.annotations)
        tasks = [to_task(image, found, model=model, prefix=options.image_prefix) for image, found in pairs]
        write_json(output / "label_studio.json", tasks)
        with atomic_write(output / "label_studio.xml") as file:
            file.write(labeling_config().encode())
        demo.written += [output / "label_studio.json", output / "label_studio.xml"]
