"""The masks of one video, joined into tracks: linked, filled, and with their key masks chosen.

Shape legend
    H, W   height and width of the frames in pixels
    n      masks of a frame
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, repeat
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.levels import kin
from unseg_d2.rle import encode_mask, to_rles
from unseg_d2.tracks.fill import fill_gap
from unseg_d2.tracks.keys import key_masks, reliability
from unseg_d2.tracks.link import FrameMasks, link
from unseg_d2.tracks.placed import PlacedMask
from unseg_d2.tracks.settings import TrackSettings

Annotation = dict[str, Any]


@dataclass(frozen=True)
class TrackedVideo:
    """The masks of a video with their tracks.

    Attributes:
        frames: the annotations of each frame: those that were given, with ``track_id`` from 1 on and ``key`` (True)
            where they are key masks; then filled ones, with ``filled`` (True).
        num_tracks: number of tracks.
        num_filled: number of filled masks.
        num_keys: number of key masks.
        left_out: masks of tracks that are too short.
    """

    frames: list[list[Annotation]]
    num_tracks: int
    num_filled: int
    num_keys: int
    left_out: int


@dataclass(frozen=True)
class _Member:
    """A mask of a track: where it is, and its overlap with the one before."""

    frame: int
    place: int
    agreement: float


def track_video(
    frames: Sequence[Sequence[Annotation]],
    numbers: Sequence[int],
    size: tuple[int, int],
    settings: TrackSettings,
    features: Iterable[np.ndarray] | None = None,
) -> TrackedVideo:
    """Join the masks of the frames of a video into tracks.

    Args:
        frames: the annotations of each frame, whose ``segmentation`` is a mask that is not empty; a missing ``score``
            counts as 1. They are not changed.
        numbers: of the frames, ascending; where frames are missing, numbers are left out.
        size: ``(H, W)``.
        settings: see :class:`TrackSettings`.
        features: ``(n, C)`` of the masks of each frame, see `pooled.pooled_features`; by overlap alone without them.

    Raises:
        UnsegError: a mask is damaged, or of another size than the frames.
        ValueError: a mask is empty.
    """
    rles = [to_rles([item["segmentation"] for item in found], *size) for found in frames]
    tracks: dict[int, list[_Member]] = {}
    for frame, links in enumerate(link(_placed(rles, numbers, features), settings)):
        for place, (track, agreement) in enumerate(zip(links.tracks.tolist(), links.agreements.tolist())):
            tracks.setdefault(track, []).append(_Member(frame, place, agreement))
    kept = [members for members in tracks.values() if len(members) >= settings.min_length]
    result: list[list[Annotation]] = [[] for _ in frames]
    by_place: dict[tuple[int, int], Annotation] = {}
    num_keys = 0
    for number, members in enumerate(kept, start=1):
        keys = _keys(members, frames, numbers, settings)
        num_keys += len(keys)
        for index, member in enumerate(members):
            about = {"track_id": number, **({"key": True} if index in keys else {})}
            by_place[member.frame, member.place] = {**without_track(frames[member.frame][member.place]), **about}
    covering: list[dict[int, dict[str, Any]]] = [{} for _ in frames]
    for frame, place in sorted(by_place):
        result[frame].append(by_place[frame, place])
        covering[frame][by_place[frame, place]["track_id"]] = rles[frame][place]
    num_filled, kin_of = 0, partial(_kin_tracks, frames, by_place)
    for number, members in enumerate(kept, start=1):
        for frame, annotation in _filled(members, frames, rles, numbers, covering, kin_of, size, settings):
            result[frame].append({**annotation, "track_id": number, "filled": True})
            num_filled += 1
    left_out = sum(map(len, frames)) - len(by_place)
    return TrackedVideo(result, len(kept), num_filled, num_keys, left_out)


def _placed(
    rles: Sequence[Sequence[dict[str, Any]]], numbers: Sequence[int], features: Iterable[np.ndarray] | None
) -> Iterator[FrameMasks]:
    described = repeat(None, len(rles)) if features is None else features
    for of_frame, number, found in zip(rles, numbers, described, strict=True):
        yield FrameMasks(number, [_cut(rle) for rle in of_frame], found)


def _cut(rle: dict[str, Any]) -> PlacedMask:
    mask = PlacedMask.of_rle(rle)
    if mask is None:
        raise ValueError("a mask is empty")
    return mask


def without_track(annotation: Annotation) -> Annotation:
    """Return an annotation without what an earlier command has said about tracks."""
    return {key: value for key, value in annotation.items() if key not in ("track_id", "key", "filled")}


def _keys(
    members: Sequence[_Member], frames: Sequence[Sequence[Annotation]], numbers: Sequence[int], settings: TrackSettings
) -> list[int]:
    """Return the places of the key masks in a track."""
    scores = np.array([float(frames[member.frame][member.place].get("score", 1.0)) for member in members])
    reliable = reliability(scores, np.array([member.agreement for member in members]))
    return key_masks(reliable, [numbers[member.frame] for member in members], settings.keys, settings.key_distance)


def _filled(
    members: Sequence[_Member],
    frames: Sequence[Sequence[Annotation]],
    rles: Sequence[Sequence[dict[str, Any]]],
    numbers: Sequence[int],
    covering: Sequence[Mapping[int, dict[str, Any]]],
    kin_of: Callable[[_Member], set[int]],
    size: tuple[int, int],
    settings: TrackSettings,
) -> Iterator[tuple[int, Annotation]]:
    """Yield the masks between those of a track, each with its frame; what contains it, or is a part, does not hide it.

    Args:
        members: of the track.
        frames: the annotations of each frame.
        rles: their masks.
        numbers: of the frames.
        covering: the mask of each track in a frame.
        kin_of: the tracks of the masks that contain a mask or lie in it.
        size: ``(H, W)``.
        settings: see :class:`TrackSettings`.
    """
    for one, other in pairwise(members):
        first, last = numbers[one.frame], numbers[other.frame]
        if not 1 < last - first <= settings.max_filled + 1:
            continue
        inside = {(numbers[k] - first) / (last - first): k for k in range(one.frame + 1, other.frame)}
        before, after = (_cut(rles[member.frame][member.place]) for member in (one, other))
        nested = kin_of(one) | kin_of(other)
        others = {
            share: _union([rle for track, rle in covering[frame].items() if track not in nested], size)
            for share, frame in inside.items()
        }
        known = [frames[member.frame][member.place] for member in (one, other)]
        for share, mask in fill_gap(before, after, others, size, settings).items():
            yield inside[share], _annotation(mask, known)


def _kin_tracks(
    frames: Sequence[Sequence[Annotation]], by_place: Mapping[tuple[int, int], Annotation], member: _Member
) -> set[int]:
    """Return the tracks of the masks of a frame that contain a mask or lie in it."""
    places = ((member.frame, place) for place in kin(frames[member.frame])[member.place])
    return {by_place[place]["track_id"] for place in places if place in by_place}


def _union(rles: Sequence[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    if not rles:
        return np.zeros(size, bool)
    covered: np.ndarray = mask_utils.decode(mask_utils.merge(list(rles))).astype(bool)
    return covered


def _annotation(mask: np.ndarray, around: Sequence[Annotation]) -> Annotation:
    """Return the annotation of a mask between two; no more certain than either, and as coarse as both on average."""
    rle = encode_mask(mask)
    found: Annotation = {
        "category_id": around[0]["category_id"],
        "segmentation": rle,
        "area": float(np.count_nonzero(mask)),
        "bbox": [float(side) for side in mask_utils.toBbox(rle)],
        "iscrowd": 0,
    }
    if any("score" in item for item in around):
        found["score"] = min(float(item.get("score", 1.0)) for item in around)
    if all("granularity" in item for item in around):
        found["granularity"] = round(sum(item["granularity"] for item in around) / len(around), 6)
    return found
