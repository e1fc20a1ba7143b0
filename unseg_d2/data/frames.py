"""Which images of a label set are the frames of which video, and in what order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from unseg_d2.data.annotations.parse import quoted
from unseg_d2.errors import UnsegError
from unseg_d2.files import frame_number, same_name


@dataclass(frozen=True)
class Video:
    """The frames of a video that a label set lists.

    Attributes:
        key: its id: the ``video_id`` of its images, or the folder that they are in.
        is_stated: whether the images state it.
        name: what it is called: the name in the list of videos, or the folder of its frames.
        positions: of its frames among the images, in the order in which they are shown.
        numbers: of these frames, from 0 on; where some frames are not listed, numbers are left out.
        size: height and width of all frames, px.
        about: what the list of videos says of it besides.
    """

    key: Any
    is_stated: bool
    name: str
    positions: tuple[int, ...]
    numbers: tuple[int, ...]
    size: tuple[int, int]
    about: Mapping[str, Any]

    @property
    def num_missing(self) -> int:
        """Number of frames between the first and the last that are not listed."""
        return self.numbers[-1] + 1 - len(self.numbers)


def videos_of(
    images: Iterable[Mapping[str, Any]], videos: Sequence[Mapping[str, Any]] = (), where: object = ""
) -> list[Video]:
    """Return the videos of a label set.

    Images that have a ``video_id`` are frames of that video, others of the video that is their folder. Their order is
    that of ``frame_id`` or, without it, of the last number in their names; equal steps between the numbers, as of every
    fifth frame, count as one.

    Args:
        images: ``file_name``, ``height``, ``width`` and, in some files, ``video_id`` and ``frame_id`` each.
        videos: ``id`` and, in some files, ``file_name`` each; may be empty.
        where: the label set, for messages.

    Returns:
        The videos in the order of their first images.

    Raises:
        UnsegError: there is no image, some belong to no video, a listed video has no frame, frames cannot be put in
            order, as where only some state their number, or differ in size.
    """
    prefix = f"{where}: " if where else ""
    groups, frames = _grouped(images, prefix)
    listed = {video["id"]: video for video in videos if isinstance(video.get("id"), (int, float, str))}
    for key, video in listed.items():
        if key not in groups and groups and any("video_id" in frame for frame in frames):
            name = quoted(video.get("file_name", key))
            raise UnsegError(f"{prefix}the video {name} has 0 frames; take it out of the list of videos.")
    if not groups:
        raise UnsegError(f"{prefix}there are no images, so no frames of a video.")
    return [_video(key, positions, frames, listed.get(key, {}), prefix) for key, positions in groups.items()]


def _grouped(images: Iterable[Mapping[str, Any]], prefix: str) -> tuple[dict[Any, list[int]], list[Mapping[str, Any]]]:
    """Return the positions of the images of each video by its id, and all images."""
    frames = list(images)
    named = sum("video_id" in frame for frame in frames)
    if named not in (0, len(frames)):
        stray = next(frame for frame in frames if "video_id" not in frame)
        raise UnsegError(
            f"{prefix}{len(frames) - named} of {len(frames)} images belong to no video, the first is "
            f"{quoted(stray['file_name'])}; give each image a video_id, or none."
        )
    groups: dict[Any, list[int]] = {}
    for position, frame in enumerate(frames):
        key = frame["video_id"] if named else _folder(frame)
        groups.setdefault(key, []).append(position)
    return groups, frames


def _folder(frame: Mapping[str, Any]) -> str:
    return PurePosixPath(same_name(str(frame["file_name"]))).parent.as_posix()


def _video(
    key: Any, positions: list[int], frames: Sequence[Mapping[str, Any]], about: Mapping[str, Any], prefix: str
) -> Video:
    name = str(about.get("file_name") or _folder(frames[positions[0]]))
    prefix = f"{prefix}video {quoted(name)}: "
    stated = sum("frame_id" in frames[position] for position in positions)
    if stated not in (0, len(positions)):
        raise UnsegError(
            f"{prefix}{stated} of {len(positions)} frames have a frame_id, and those of the others are not known; give "
            "each frame one, or none."
        )
    numbers = {position: _number(frames[position], prefix) for position in positions}
    order = sorted(positions, key=numbers.__getitem__)
    for before, after in pairwise(order):
        if numbers[before] == numbers[after]:
            both = " and ".join(quoted(frames[position]["file_name"]) for position in (before, after))
            raise UnsegError(
                f"{prefix}{both} are both frame {numbers[after]}, so their order is not known; number the frames in "
                "their names, or give each a frame_id."
            )
    first = numbers[order[0]]
    step = math.gcd(*(numbers[position] - first for position in order)) or 1
    size = _size(frames[order[0]], prefix)
    for position in order:
        if (found := _size(frames[position], prefix)) != size:
            raise UnsegError(
                f"{prefix}{quoted(frames[position]['file_name'])} has {found[0]}x{found[1]} px, but the first frame "
                f"{size[0]}x{size[1]}; all frames of a video must have one size."
            )
    return Video(
        key=key,
        is_stated="video_id" in frames[positions[0]],
        name=name,
        positions=tuple(order),
        numbers=tuple((numbers[position] - first) // step for position in order),
        size=size,
        about=dict(about),
    )


def _number(frame: Mapping[str, Any], prefix: str) -> int:
    number = frame_number(str(frame["file_name"]), frame.get("frame_id"))
    if number is None:
        raise UnsegError(
            f"{prefix}{quoted(frame['file_name'])} has no number in its name, so the order of the frames is not known; "
            "number the frames, or give each a frame_id."
        )
    return number


def _size(frame: Mapping[str, Any], prefix: str) -> tuple[int, int]:
    if frame.get("height") is None or frame.get("width") is None:
        raise UnsegError(f"{prefix}the size of {quoted(frame['file_name'])} is not known.")
    return int(frame["height"]), int(frame["width"])
