"""What a COCO annotation file holds, once it has been checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class CocoDataset:
    """The content of a COCO annotation file.

    Attributes:
        images: ``{id, file_name}`` each, and ``height`` and ``width`` in px where they are known; ``done`` (True) where
            a person has said that every object has its mask.
        annotations: ``{id, image_id, category_id, bbox (XYWH, px), area, iscrowd}`` each and, where there are any,
            ``segmentation`` (polygons or compressed run lengths), ``score`` and ``confidence``; ``corrected`` (True)
            where a person has drawn or approved it.
        categories: ``{id, name}`` each.
        info: what the file says about itself.
        joined: ids of images that are listed a second time, each with the id that the image has here.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    info: dict[str, Any] = field(default_factory=dict)
    joined: dict[Any, Any] = field(default_factory=dict)
