"""The detections of one image, and their conversion to the formats of other libraries.

Shape legend
    n      detections
    H, W   height and width of the original image in pixels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from unseg_d2.data.image_input import ImageLike, as_rgb
from unseg_d2.data.pictures.reading import DEFAULT_READING, Reading
from unseg_d2.errors import UnsegError, missing_extra
from unseg_d2.rle import decode_masks
from unseg_d2.viz.overlay import draw_instances

if TYPE_CHECKING:
    import supervision


def check_threshold(value: float, name: str) -> None:
    """Raise `UnsegError` unless a lowest score, called so by its user, is in [0, 1]; NaN is not."""
    if not 0 <= value <= 1:
        raise UnsegError(f"{name} is {value:g}, but scores lie between 0 and 1.")


@dataclass(frozen=True)
class Prediction:
    """The detections of one image, best first.

    Attributes:
        record: the data set's record of the image: ``image_id``, and ``file_name`` if it came from a file.
        size: ``(H, W)`` of the original image in pixels.
        boxes: ``(n, 4)`` float32 xyxy in pixels of the original image.
        scores: ``(n,)`` float32 in [0, 1].
        rles: one compressed COCO run-length encoding per detection, at the original size; empty without masks.
        classes: ``(n,)`` int64 class numbers; by default all are of class 0.
        tracks: ``(n,)`` int64 identities over the frames of a video, from 1; empty where nothing was tracked.
        reading: how the image was read, so that `draw` reads it in the same way.
    """

    record: dict[str, Any]
    size: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    rles: list[dict[str, Any]] = field(default_factory=list)
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    reading: Reading = DEFAULT_READING
    tracks: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if len(self.classes) == 0:
            object.__setattr__(self, "classes", np.zeros(len(self.scores), np.int64))

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def masks(self) -> np.ndarray:
        """``(n, H, W)`` bool, decoded on first use; ``(0, H, W)`` if the network has no mask branch."""
        return decode_masks(self.rles, *self.size)

    def above(self, score_threshold: float) -> Prediction:
        """Return the detections with at least this score.

        Args:
            score_threshold: lowest score in [0, 1].
        """
        return self.chosen(np.flatnonzero(self.scores >= score_threshold))

    def chosen(self, places: np.ndarray) -> Prediction:
        """Return some of the detections.

        Args:
            places: their numbers from 0, in the order wanted.
        """
        rles = [self.rles[index] for index in places] if self.rles else []
        tracks = self.tracks[places] if len(self.tracks) else self.tracks
        boxes, scores, classes = self.boxes[places], self.scores[places], self.classes[places]
        return replace(self, boxes=boxes, scores=scores, rles=rles, classes=classes, tracks=tracks)

    def to_coco(self, category_id: int | Sequence[int] = 1) -> list[dict[str, Any]]:
        """Return COCO results: ``image_id``, ``category_id``, ``bbox`` (XYWH), ``score`` and ``segmentation``.

        Those of a tracked video have ``track_id`` too.

        Args:
            category_id: the category of each class; or that of class 0, from which the others count up.
        """
        numbers = self.classes.tolist()
        categories = [category_id + n if isinstance(category_id, int) else category_id[n] for n in numbers]
        corners = self.boxes.astype(np.float64)
        xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
        results = [
            {"image_id": self.record["image_id"], "category_id": category, "bbox": box, "score": float(score)}
            for category, box, score in zip(categories, xywh, self.scores)
        ]
        for result, rle in zip(results, self.rles):
            result["segmentation"] = rle
        for result, track in zip(results, self.tracks.tolist()):
            result["track_id"] = track
        return results

    def to_supervision(self) -> supervision.Detections:
        """Return ``supervision.Detections`` with boxes, masks, scores as confidence, class numbers, and tracks.

        Raises:
            UnsegError: supervision is not installed; the message names the command that installs it.
        """
        try:
            import supervision
        except ImportError:
            raise missing_extra("supervision", "supervision") from None
        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks if self.rles else None,
            confidence=self.scores,
            class_id=self.classes.astype(int),
            tracker_id=self.tracks.astype(int) if len(self.tracks) else None,
        )

    def draw(self, image: ImageLike) -> np.ndarray:
        """Draw the detections with their scores: masks, or boxes if there are no masks.

        Args:
            image: that this prediction is of: a path, a Pillow image or an ``(H, W, 3)`` uint8 array.

        Returns:
            ``(H, W, 3)`` uint8 RGB.

        Raises:
            UnsegError: the image cannot be read, or has another size.
        """
        pixels = as_rgb(image, self.reading)
        if pixels.shape[:2] != self.size:
            raise UnsegError(
                f"The image has {pixels.shape[0]}x{pixels.shape[1]} pixels (height x width), but the prediction is for "
                f"one of {self.size[0]}x{self.size[1]}."
            )
        shown = {"scores": self.scores.tolist(), "identities": self.tracks.tolist() or None}
        if self.rles:
            return draw_instances(pixels, self.masks, **shown)
        areas = np.zeros((len(self), *self.size), bool)
        for area, box in zip(areas, np.rint(self.boxes).astype(int)):
            area[max(box[1], 0) : box[3] + 1, max(box[0], 0) : box[2] + 1] = True
        return draw_instances(pixels, areas, **shown, opacity=0.0)
