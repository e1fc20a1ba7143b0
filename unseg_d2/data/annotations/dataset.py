"""What a COCO annotation file holds, once it has been checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class CocoDataset:
    """The content of a COCO annotation file.

    Attributes:
        images: ``{id, file_name}`` each, and ``height`` and ``width`` in px where they are known; ``done`` (True) where
            a person has said that every object has its mask; ``video_id``, ``frame_id`` and ``time`` of frames.
        annotations: ``{id, image_id, category_id, bbox (XYWH, px), area, iscrowd}`` each and, where there are any,
            ``segmentation`` (polygons or compressed run lengths), ``score``, ``confidence``, and the fields of
            `unseg_d2.structures.Place`; ``corrected`` (True) where a person has drawn or approved it; ``track_id``,
            ``filled`` and ``key`` in videos; ``group_confidence`` of `unseg_d2.groups`.
        categories: ``{id, name}`` each.
        info: what the file says about itself.
        joined: ids of images that are listed a second time, each with the id that the image has here.
        videos: those that frames are of, as the file has them; empty where it has none.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    info: dict[str, Any] = field(default_factory=dict)
    joined: dict[Any, Any] = field(default_factory=dict)
    videos: list[dict[str, Any]] = field(default_factory=list)
