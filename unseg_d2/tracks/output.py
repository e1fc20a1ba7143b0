"""The label set that tracks are written as, and the one of its key masks alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.frames import Video
from unseg_d2.levels import reconnected
from unseg_d2.pseudo.label_set import write_label_set
from unseg_d2.pseudo.tally import Tally
from unseg_d2.tracks.settings import OtherMasks

Annotation = dict[str, Any]


@dataclass(frozen=True)
class TrackCounts:
    """What was tracked.

    Attributes:
        videos: number of videos.
        frames: of all videos.
        masks: in the new label set, filled ones included.
        tracks: number of tracks.
        filled: masks that were put into gaps.
        keys: key masks.
        left_out: masks of tracks that are too short.
        unusable: annotations without a mask, and masks that an earlier run had filled in.
    """

    videos: int
    frames: int
    masks: int
    tracks: int
    filled: int
    keys: int
    left_out: int
    unusable: int

    def __add__(self, other: TrackCounts) -> TrackCounts:
        return TrackCounts(*(getattr(self, name.name) + getattr(other, name.name) for name in fields(self)))

    def line(self) -> str:
        """Return the counts in words."""
        videos = "1 video" if self.videos == 1 else f"{self.videos} videos"
        text = f"{self.tracks} tracks with {self.masks} masks on {self.frames} frames of {videos}"
        parts = {
            "filled in": self.filled,
            "key masks": self.keys,
            "left out of tracks that are too short (TRACKS.MIN_LENGTH)": self.left_out,
            "annotations left out, which have no mask or were filled in before": self.unusable,
        }
        return "; ".join([text, *(f"{number} {what}" for what, number in parts.items() if number)])


def write_tracks(
    output: Path,
    manifest: dict[str, Any],
    index: AnnotationIndex,
    videos: Sequence[Video],
    folder: Path,
    others: OtherMasks,
) -> tuple[Path, TrackCounts]:
    """Write ``labels.json`` and ``keys.json`` from the files of the videos.

    Args:
        output: folder of both.
        manifest: of the run, which becomes their ``info``.
        index: the label set that was tracked.
        videos: of it.
        folder: with a file per video.
        others: what ``keys.json`` has besides key masks, see `TrackSettings`.

    Returns:
        ``labels.json``, and what is in it.
    """
    counts, numbers = TrackCounts(*[0] * len(fields(TrackCounts))), list[int]()
    key_numbers: list[int] = []
    for number in range(1, len(videos) + 1):
        stored = _stored(folder, number)
        counts += TrackCounts(**stored["counts"])
        numbers += [len(found) for found in stored["annotations"]]
        key_numbers += [count for found in stored["annotations"] if (count := sum("key" in item for item in found))]
    tracks = {"tracks": {name: value for name, value in asdict(counts).items() if value}}
    path = output / "labels.json"
    keys = output / "keys.json"
    masks: tuple[tuple[Path, list[int], OtherMasks | None], ...] = ((path, numbers, None), (keys, key_numbers, others))
    for target, amounts, beside in masks:
        if not amounts:
            target.unlink(missing_ok=True)
            continue
        info = {**manifest, "counts": Tally.of(amounts).to_info(), **tracks}
        entries = [_entry(video, number) for number, video in enumerate(videos, start=1)]
        images = _images(index, videos, folder, beside_keys=beside)
        annotations = _annotations(index, videos, folder, beside_keys=beside)
        write_label_set(target, info, images, annotations, index.categories, entries)
    return path, counts


def _stored(folder: Path, number: int) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((folder / f"{number:06d}.json").read_bytes())
    return stored


def _key(video: Video, number: int) -> Any:
    """Return the id of a video: its own, where the label set gave it one."""
    return video.key if video.is_stated else number


def _entry(video: Video, number: int) -> dict[str, Any]:
    height, width = video.size
    about = {"file_name": video.name, "height": height, "width": width, "length": len(video.positions)}
    return {**about, **video.about, "id": _key(video, number)}


def _frames(
    index: AnnotationIndex, videos: Sequence[Video], folder: Path, *, beside_keys: OtherMasks | None
) -> Iterator[tuple[dict[str, Any], list[Annotation]]]:
    """Yield the frames with their annotations: all of them, or those with key masks and what lies beside these."""
    counts = index.counts()
    for number, video in enumerate(videos, start=1):
        found = _stored(folder, number)["annotations"]
        for position, place, items in zip(video.positions, video.numbers, found, strict=True):
            chosen = items if beside_keys is None else reconnected(items, _with_keys(items, beside_keys))
            if beside_keys is not None and not chosen:
                continue
            image = index.image(position)
            if not _is_complete(chosen, int(counts[position])):
                image.pop("done", None)  # what is left out would count as background
            where = {"video_id": _key(video, number), "frame_id": image.get("frame_id", place)}
            yield {**image, **where}, chosen


def _with_keys(items: Sequence[Annotation], others: OtherMasks) -> list[Annotation]:
    """Return the key masks of a frame, and where it has any, the others as crowd regions if they are wanted."""
    keys = [item for item in items if item.get("key")]
    if not keys or others == "left_out":
        return keys
    return [*keys, *({**item, "iscrowd": 1} for item in items if not item.get("key"))]


def _is_complete(chosen: Sequence[Annotation], count: int) -> bool:
    """Whether a frame has all masks that it had, each as an object if it was one; filled ones were none of them."""
    return sum(not item.get("filled") for item in chosen) == count and not any(item["iscrowd"] for item in chosen)


def _images(
    index: AnnotationIndex, videos: Sequence[Video], folder: Path, *, beside_keys: OtherMasks | None
) -> Iterator[dict[str, Any]]:
    return (image for image, _ in _frames(index, videos, folder, beside_keys=beside_keys))


def _annotations(
    index: AnnotationIndex, videos: Sequence[Video], folder: Path, *, beside_keys: OtherMasks | None
) -> Iterator[Annotation]:
    for image, items in _frames(index, videos, folder, beside_keys=beside_keys):
        for item in items:
            kept = {key: value for key, value in item.items() if key != "id"}
            yield {**kept, "image_id": image["id"], "video_id": image["video_id"]}
