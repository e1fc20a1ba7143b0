"""Class-agnostic average precision and recall of objects in videos, as YouTube-VIS defines them.

An object and a result are compared over all frames of their video at once; everything else is COCO's.

Shape legend
    r   results of a video, best first
    g   objects of it
    T   IoU thresholds
    A   ranges of areas: all, small, medium, large
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.identities import identity_switches
from unseg_d2.evaluation.matches import ImageMatches, Matches
from unseg_d2.evaluation.registry import EVALUATORS, Kind
from unseg_d2.evaluation.streams import StreamEvaluator
from unseg_d2.evaluation.track_overlaps import VideoOverlaps
from unseg_d2.files import frame_number
from unseg_d2.settings import Settings, setting

THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = ((0.0, 1e10), (0.0, 128.0**2), (128.0**2, 256.0**2), (256.0**2, 1e10))
"""Ranges of the mean area over the frames in which an object is seen, px; both ends belong to a range."""
LIMITS = (1, 10, 100)
ONE_CLASS = 1


@dataclass(frozen=True)
class VideoSettings(Settings):
    """Settings of :class:`VideoAP`."""

    max_detections: int = setting(
        100, "results per video that count, best first; vAR1, vAR10 and vAR100 take the number in their names", low=100
    )
    min_iou: float = setting(
        0.5, "IoU in a frame from which a result is an object's, for the number of identity switches", above=0, high=1
    )


@EVALUATORS.register("video", settings=VideoSettings)
class VideoAP(StreamEvaluator):
    """Evaluator of masks with ``track_id`` on frames with ``video_id``, see :class:`VideoMetrics`.

    Args:
        settings: see :class:`VideoSettings`.
    """

    kinds = ("segm",)

    def __init__(self, settings: VideoSettings) -> None:
        self.settings = settings
        self.protocol = (
            f"Video: IoU over all frames of a video, as YouTube-VIS; one class; {settings.max_detections} results per "
            "video count; IDSW is the number of identity switches (CLEAR MOT)."
        )

    def accumulator(self, kind: Kind) -> VideoMetrics:
        """Begin a computation of the metrics."""
        return VideoMetrics(self.settings)


class VideoMetrics:
    """Accumulator of AP, AR and the number of identity switches; what it keeps of a frame are numbers.

    Args:
        settings: see :class:`VideoSettings`.
    """

    def __init__(self, settings: VideoSettings = VideoSettings()) -> None:
        self.settings = settings
        self._videos: dict[Any, VideoOverlaps] = {}

    def update(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]]) -> None:
        """Take some frames in.

        Raises:
            UnsegError: an image is no frame of a video, or masks have no tracks.
        """
        objects: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
        found: dict[Any, list[dict[str, Any]]] = {key: [] for key in objects}
        for items, groups in ((truth["annotations"], objects), (results, found)):
            for item in items:
                groups[item["image_id"]].append(item)
        for image in truth["images"]:
            if "video_id" not in image:
                raise UnsegError(
                    f"The evaluator video needs ground truth of videos, but {image.get('file_name', image['id'])} has "
                    "no video_id; leave it out, or use ground truth in the layout of YouTube-VIS."
                )
            video = self._videos.setdefault(image["video_id"], VideoOverlaps())
            number = frame_number(str(image.get("file_name", "")), image.get("frame_id"))
            video.add(number, image, objects[image["id"]], found[image["id"]])

    def compute(self) -> dict[str, float]:
        """Return the metrics, shares in percent, NaN where there is no object.

        ``vAP`` and so on, as COCO's names with a v, and ``IDSW``, the number of identity switches.
        """
        most = self.settings.max_detections
        limits = [*LIMITS, *([most] if most > LIMITS[-1] else [])]
        matches, switches = Matches(limits, len(THRESHOLDS)), 0
        for number, video in enumerate(self._videos.values(), start=1):
            matches.add(video_matches(video, number, most))
            switches += identity_switches(video.in_order(), self.settings.min_iou)
        precision, recall = matches.curves(ONE_CLASS)
        values = {"vAP": precision[..., 0, -1], "vAP50": precision[0, ..., 0, -1], "vAP75": precision[5, ..., 0, -1]}
        values |= {f"vAP{size}": precision[..., index, -1] for index, size in enumerate("sml", start=1)}
        values |= {f"vAR{limit}": recall[..., 0, index] for index, limit in enumerate(limits)}
        return {name: _percent(value) for name, value in values.items()} | {"IDSW": float(switches)}


def video_matches(video: VideoOverlaps, number: int, most: int) -> list[ImageMatches]:
    """Return how the results of a video match its objects, per range of areas.

    Args:
        video: all of its frames have been added.
        number: of the video; those that are accumulated together have ascending numbers.
        most: results that count, best first; the score of a result is the mean of those of its masks.
    """
    results, objects = list(video.results.values()), list(video.objects.values())
    scores = np.array([extent.score / extent.masks for extent in results])
    order = np.argsort(-scores, kind="stable")[:most]
    ious = video.ious()[order]
    crowd = np.array([extent.is_crowd for extent in objects], bool)
    sizes = np.array([results[place].mean_area for place in order])
    areas = np.array([extent.mean_area for extent in objects])
    found = []
    for index, (low, high) in enumerate(AREAS):
        ignored = crowd | (areas < low) | (areas > high)
        outside = (sizes < low) | (sizes > high)
        flags = [matched(ious, ignored, crowd, threshold) for threshold in THRESHOLDS]
        hits, skipped = (np.stack(rows) for rows in zip(*flags))
        skipped = skipped | (~hits & outside)
        found.append(
            ImageMatches(number, ONE_CLASS, index, scores[order], hits, skipped, int(np.count_nonzero(~ignored)))
        )
    return found


def matched(
    ious: np.ndarray, ignored: np.ndarray, crowd: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Give objects to results, best result first, as COCO does.

    A result gets the free object that it overlaps most, of those that count before those that are ignored; a crowd
    region is never taken.

    Args:
        ious: ``(r, g)`` in [0, 1].
        ignored: ``(g,)`` bool, objects that do not count.
        crowd: ``(g,)`` bool, those that several results may have.
        threshold: least IoU.

    Returns:
        Which results have an object, and which of these have an ignored one, ``(r,)`` bool each.
    """
    hits, skipped = np.zeros(len(ious), bool), np.zeros(len(ious), bool)
    free = np.ones(len(ignored), bool)
    for result, overlaps in enumerate(ious):
        can = (free | crowd) & (overlaps >= min(threshold, 1 - 1e-10))
        for group in (can & ~ignored, can & ignored):
            if group.any():
                places = np.flatnonzero(group)[::-1]  # of equal ones the last
                best = places[overlaps[places].argmax()]
                free[best] = False
                hits[result], skipped[result] = True, ignored[best]
                break
    return hits, skipped


def _percent(values: np.ndarray) -> float:
    """Return the mean in percent; -1 marks what does not exist."""
    return 100 * float(values[values > -1].mean()) if (values > -1).any() else float("nan")
