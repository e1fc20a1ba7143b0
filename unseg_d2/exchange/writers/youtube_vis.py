"""The layout of YouTube-VIS: objects of videos with a mask per frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.data.frames import Video, videos_of
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.pictures import place
from unseg_d2.exchange.request import Request
from unseg_d2.exchange.source import Annotation, rle
from unseg_d2.files import write_json

FILE = "youtube_vis.json"


def write_youtube_vis(request: Request) -> Path:
    """Write one JSON file, with pictures in ``JPEGImages`` beside it if they are wanted there.

    Returns:
        The file.

    Raises:
        UnsegError: masks have no track, two of one frame have the same, or the images are no frames of videos.
    """
    dataset, output = request.dataset, request.output
    path = output if output.suffix == ".json" else output / FILE
    followed = [one for one in dataset.annotations if "track_id" in one or not one["iscrowd"]]
    stray = len(dataset.annotations) - len(followed)
    request.counts.add("regions to ignore were left out, which are of a frame and of no object", stray)
    untracked = sum("track_id" not in annotation for annotation in followed)
    if untracked:
        raise UnsegError(
            f"{untracked} of {len(followed)} masks have no track_id, which says whose they are in the "
            "video; unseg-d2 track-masks gives them one."
        )
    videos = videos_of(dataset.images, dataset.videos)
    if request.placing != "reference":
        assert request.root is not None  # looked for where pictures are placed
        for image in dataset.images:
            place(request.root, image["file_name"], path.parent / "JPEGImages" / image["file_name"], request.placing)
    by_image: dict[Any, list[Annotation]] = {}
    for annotation in followed:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    objects = []
    for number, video in enumerate(videos, start=1):
        frames = [dataset.images[position] for position in video.positions]
        for masks in _tracks(frames, by_image):
            objects.append(_object(frames, masks, number))
            several = len({annotation["category_id"] for annotation in masks.values()}) > 1
            request.counts.add(
                "tracks have masks of several classes, of which the most frequent one was taken", several
            )
    content = {
        "info": {"description": "by unseg_d2"},
        "licenses": [],
        "categories": dataset.categories,
        "videos": [_entry(video, dataset.images, number) for number, video in enumerate(videos, start=1)],
        "annotations": [{"id": number, **found} for number, found in enumerate(objects, start=1)],
    }
    write_json(path, content)
    return path


def _entry(video: Video, images: Sequence[dict[str, Any]], number: int) -> dict[str, Any]:
    height, width = video.size
    names = [images[position]["file_name"] for position in video.positions]
    return {"id": number, "height": height, "width": width, "length": len(names), "file_names": names}


def _tracks(
    frames: Sequence[dict[str, Any]], by_image: Mapping[Any, Sequence[Annotation]]
) -> list[dict[int, Annotation]]:
    """Return the masks of each object of a video by the place of their frame, in the order of the first frames."""
    tracks: dict[Any, dict[int, Annotation]] = {}
    for place_of, image in enumerate(frames):
        for annotation in by_image.get(image["id"], ()):
            masks = tracks.setdefault(annotation["track_id"], {})
            if place_of in masks:
                raise UnsegError(
                    f"{image['file_name']} has two masks of the track {annotation['track_id']}; an object has one."
                )
            masks[place_of] = annotation
    return list(tracks.values())


def _object(frames: Sequence[dict[str, Any]], masks: dict[int, Annotation], video: int) -> dict[str, Any]:
    """Return an object without its id; its class is that of most masks, its score the mean of theirs, if any."""
    found = list(masks.values())
    scores = [annotation["score"] for annotation in found if "score" in annotation]
    height, width = frames[0]["height"], frames[0]["width"]

    def per_frame(key: str) -> list[Any]:
        return [masks[place_of][key] if place_of in masks else None for place_of in range(len(frames))]

    return {
        "video_id": video,
        "category_id": Counter(annotation["category_id"] for annotation in found).most_common(1)[0][0],
        "iscrowd": int(all(annotation["iscrowd"] for annotation in found)),
        "height": height,
        "width": width,
        "length": len(frames),
        "segmentations": [
            rle(masks[place_of], image) if place_of in masks else None for place_of, image in enumerate(frames)
        ],
        "bboxes": per_frame("bbox"),
        "areas": per_frame("area"),
        **({"score": float(np.mean(scores))} if scores else {}),
    }
