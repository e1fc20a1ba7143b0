"""The layout of YouTube-VIS, whose annotations are objects with a mask per frame, as a COCO file of frames.

    videos        id, width, height, length, file_names (one per frame)
    annotations   id, video_id, category_id, iscrowd, segmentations (one per frame, null where the object is not seen)

Source: Yang et al., Video Instance Segmentation, ICCV 2019; the files of its data set.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unseg_d2.data.annotations.parse import quoted
from unseg_d2.errors import UnsegError

Entry = dict[str, Any]


def has_this_layout(path: Path) -> bool:
    """Whether a JSON file holds objects of videos and no images; it is searched and not parsed."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text.find(b'"videos"') >= 0 and text.find(b'"images"') < 0 and text.find(b'"image_id"') < 0


def to_frames(content: Mapping[str, Any]) -> Entry:
    """Turn the content of a file of this layout into that of a COCO file with the keys of videos.

    Args:
        content: what the JSON holds.

    Returns:
        ``videos``, ``images`` (a frame each, with ``video_id`` and ``frame_id`` from 0), ``annotations`` (a mask each,
        with the ``video_id`` and, as ``track_id``, the id of the object), ``categories`` and ``info``. The score of an
        object is that of each of its masks.

    Raises:
        UnsegError: a list is missing, or an object does not fit its video.
    """
    videos, objects = (_listed(content, key) for key in ("videos", "annotations"))
    images: list[Entry] = []
    first: dict[Any, int] = {}
    for video in videos:
        names = video.get("file_names")
        if not isinstance(names, list) or not isinstance(video.get("id"), (int, str)):
            raise UnsegError(f'a video lacks "id" or the list "file_names": {quoted(video.get("id"))}.')
        if video["id"] in first:
            raise UnsegError(f"the video id {quoted(video['id'])} occurs more than once.")
        first[video["id"]] = len(images)
        size: Entry = {key: video[key] for key in ("height", "width") if key in video}
        images += [
            {"id": len(images) + place, "file_name": name, **size, "video_id": video["id"], "frame_id": place - 1}
            for place, name in enumerate(names, start=1)
        ]
    lengths = {video["id"]: len(video["file_names"]) for video in videos}
    annotations = [found for entry in objects for found in _masks(entry, first, lengths)]
    return {
        "info": content.get("info"),
        "videos": [_about(video) for video in videos],
        "images": images,
        "annotations": [{"id": number, **found} for number, found in enumerate(annotations, start=1)],
        "categories": content.get("categories"),
    }


def _listed(content: Mapping[str, Any], key: str) -> list[Entry]:
    entries = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnsegError(f'the list "{key}" is missing, so this is neither a COCO nor a YouTube-VIS file.')
    return entries


def _about(video: Entry) -> Entry:
    """Return a video as label sets list it: its name is the folder of its frames."""
    names = video["file_names"]
    folder = str(names[0]).rpartition("/")[0] if names else ""
    kept = {key: value for key, value in video.items() if key != "file_names"}
    return {"file_name": folder or str(video["id"]), "length": len(names), **kept}


def _masks(entry: Entry, first: Mapping[Any, int], lengths: Mapping[Any, int]) -> list[Entry]:
    """Return the masks of an object, each with the id of its frame."""
    name, video, masks = f"annotation {quoted(entry.get('id'))}", entry.get("video_id"), entry.get("segmentations")
    if "id" not in entry or not isinstance(masks, list):
        raise UnsegError(f'{name} lacks "id" or the list "segmentations".')
    if not isinstance(video, (int, float, str)) or video not in first:
        raise UnsegError(f"{name} is of the video {quoted(video)}, which is not listed.")
    if len(masks) != lengths[video]:
        raise UnsegError(f"{name} has {len(masks)} masks, but its video {lengths[video]} frames.")
    areas, boxes = (_per_frame(entry, key, len(masks)) for key in ("areas", "bboxes"))
    about = {"video_id": video, "track_id": entry["id"]}
    about |= {key: entry[key] for key in ("category_id", "iscrowd", "score") if entry.get(key) is not None}
    found = []
    for place, mask in enumerate(masks):
        if not mask:
            continue
        known = {"area": areas[place], "bbox": boxes[place]}
        known = {key: value for key, value in known.items() if value is not None}
        found.append({"image_id": first[video] + place + 1, "segmentation": mask, **known, **about})
    return found


def _per_frame(entry: Entry, key: str, length: int) -> Sequence[Any]:
    values = entry.get(key)
    return values if isinstance(values, list) and len(values) == length else [None] * length
