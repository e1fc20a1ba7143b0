"""Sums over the frames of a video from which the overlap of objects in space and time follows.

Shape legend
    r   results of a video, each with masks in some of its frames
    g   objects of it, likewise
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.identities import FrameOverlaps
from unseg_d2.rle import compress


@dataclass
class Extent:
    """How much of a video an object or a result covers.

    Attributes:
        area: sum of its masks, px.
        frames: in which its mask is not empty.
        masks: number of masks.
        score: sum of their scores; one that is missing counts as 1.
        is_crowd: whether all of them are regions to ignore.
    """

    area: float = 0.0
    frames: int = 0
    masks: int = 0
    score: float = 0.0
    is_crowd: bool = True

    def add(self, area: float, item: Mapping[str, Any]) -> None:
        """Add a mask."""
        self.area += area
        self.frames += area > 0
        self.masks += 1
        self.score += float(item.get("score", 1.0))
        self.is_crowd &= bool(item.get("iscrowd", 0))

    @property
    def mean_area(self) -> float:
        """Mean over the frames in which it is seen, px."""
        return self.area / self.frames if self.frames else 0.0


@dataclass
class VideoOverlaps:
    """What is summed up of one video, frame by frame.

    Attributes:
        objects: by the identity of each object, in the order of their first frames.
        results: likewise.
        shared: pixels that a result and an object have in common, by both identities.
        frames: the number of each frame in the video, where it is known, and its overlaps without crowd regions.
    """

    objects: dict[Any, Extent] = field(default_factory=dict)
    results: dict[Any, Extent] = field(default_factory=dict)
    shared: Counter[tuple[Any, Any]] = field(default_factory=Counter)
    frames: list[tuple[int | None, FrameOverlaps]] = field(default_factory=list)

    def add(
        self,
        number: int | None,
        image: Mapping[str, Any],
        objects: Sequence[Mapping[str, Any]],
        results: Sequence[Mapping[str, Any]],
    ) -> None:
        """Take a frame in.

        Crowd regions without a track are left out.

        Args:
            number: of the frame in the video; ``None`` where nobody knows it.
            image: ``id`` and, where known, ``height`` and ``width``.
            objects: ``{track_id, segmentation}`` each.
            results: likewise, with ``score`` where they have one.

        Raises:
            UnsegError: a mask has no track, or two of one side have the same.
        """
        size = (image.get("height"), image.get("width"))
        objects, results = (_followed(items) for items in (objects, results))
        sides = (("The ground truth has", objects, self.objects), ("There is", results, self.results))
        regions, areas, tracks = [], [], []
        for begin, items, known in sides:
            regions.append([compress(item["segmentation"], *size) for item in items])
            areas.append(np.array([mask_utils.area(region) for region in regions[-1]], float))
            tracks.append(_tracks(items, image, begin))
            for track, area, item in zip(tracks[-1], areas[-1].tolist(), items):
                known.setdefault(track, Extent()).add(area, item)
        ious = np.zeros((len(results), len(objects)))
        if objects and results:
            ious = np.asarray(mask_utils.iou(regions[1], regions[0], [0] * len(objects)))
        # IoU = s / (a + b - s); the number of shared pixels s is whole, so rounding makes it exact.
        both = np.rint(ious * (areas[1][:, None] + areas[0]) / (1 + ious))
        for row, column in zip(*np.nonzero(both)):
            self.shared[tracks[1][row], tracks[0][column]] += int(both[row, column])
        things = [column for column, item in enumerate(objects) if not item.get("iscrowd", 0)]
        seen = FrameOverlaps([tracks[0][column] for column in things], tracks[1], ious.T[things])
        self.frames.append((number, seen))

    def in_order(self) -> list[FrameOverlaps]:
        """Return the frames by their numbers; as they came, where one has none."""
        numbered = [(number, frame) for number, frame in self.frames if number is not None]
        if len(numbered) < len(self.frames):
            return [frame for _, frame in self.frames]
        return [frame for _, frame in sorted(numbered, key=lambda item: item[0])]

    def ious(self) -> np.ndarray:
        """Return the overlap in space and time of each result with each object.

        The pixels that both have in some frame, over those that one of them has in some frame; a frame in which only
        one of the two is seen counts in the union.

        Returns:
            ``(r, g)`` float64 in [0, 1], in the order of ``results`` and ``objects``.
        """
        shared = np.array(
            [[self.shared[result, known] for known in self.objects] for result in self.results], float
        ).reshape(len(self.results), len(self.objects))
        sums = [np.array([extent.area for extent in side.values()]) for side in (self.results, self.objects)]
        union = sums[0][:, None] + sums[1][None, :] - shared
        return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _followed(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out crowd regions that belong to no track: they are of a frame and not of an object."""
    return [item for item in items if "track_id" in item or not item.get("iscrowd", 0)]


def _tracks(items: Sequence[Mapping[str, Any]], image: Mapping[str, Any], begin: str) -> list[Any]:
    """Return the identity of each item of a frame; `begin` is the beginning of messages."""
    name = image.get("file_name", image["id"])
    tracks: list[Any] = []
    for item in items:
        if "track_id" not in item:
            raise UnsegError(
                f"{begin} a mask without a track_id on {name}, and the evaluator video compares tracks; "
                "unseg-d2 track-masks makes them."
            )
        if item["track_id"] in tracks:
            raise UnsegError(f"{begin} two masks of the track {item['track_id']} on {name}; an object has one.")
        tracks.append(item["track_id"])
    return tracks
