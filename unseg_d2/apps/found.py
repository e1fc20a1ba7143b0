"""What was found in photos, and how a page shows it: all masks or those of one granularity, alone or in groups.

Shape legend
    H, W   height and width of a photo in pixels
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.apps.photo_groups import PhotoGroups
from unseg_d2.data.image_input import as_rgb
from unseg_d2.data.pictures.reading import DEFAULT_READING, Reading
from unseg_d2.groups.pooled import region
from unseg_d2.levels import is_shown, shown_at
from unseg_d2.pseudo.label_set import CATEGORIES, write_label_set
from unseg_d2.rle import decode_masks
from unseg_d2.viz.overlay import Colour, draw_instances
from unseg_d2.viz.palette import instance_colour

IN_NO_GROUP: Colour = (150, 150, 150)
MOST_WORDS = 20
"""Masks of a photo up to which scores and names are written on it; of more, the table and the colours say them."""
HEADS = ("photo", "object", "score", "% of the photo")
CLASS = "class"
"""Head of a fifth column, where classes are told apart."""


@dataclass
class Found:
    """What was found in photos.

    Attributes:
        reading: how the photos become RGB.
        categories: COCO's, of a detector with several classes; empty where all is of one.
        paths: files of the photos.
        images: COCO's, with ids from 1 on.
        masks: COCO annotations of each photo, without ids.
        depths: ``(H, W, 3)`` uint8 RGB, the depth that the generator worked with, and the photo's name; empty without a
            depth source.
        groups: of the masks, where they were put into groups.
        found_with: name of the generator, or the detector.
    """

    reading: Reading = DEFAULT_READING
    categories: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    masks: list[list[dict[str, Any]]] = field(default_factory=list)
    depths: list[tuple[np.ndarray, str]] = field(default_factory=list)
    groups: PhotoGroups | None = None
    found_with: str = ""

    def add(self, photo: str | Path, size: tuple[int, int], masks: Sequence[dict[str, Any]]) -> None:
        """Record a photo of ``(H, W)`` and its annotations."""
        key, name = len(self.images) + 1, os.path.basename(photo)
        self.paths.append(os.fspath(photo))
        self.images.append({"id": key, "file_name": name, "height": size[0], "width": size[1]})
        self.masks.append([mask | {"image_id": key} for mask in masks])

    @property
    def has_levels(self) -> bool:
        """Whether masks lie within each other, so that they can be shown by granularity."""
        return any("granularity" in mask for masks in self.masks for mask in masks)

    @property
    def annotations(self) -> list[dict[str, Any]]:
        """COCO's annotations of all photos, without ids, with the categories of :meth:`listed`."""
        if self.groups is None:
            return [mask for masks in self.masks for mask in masks]
        about = self.groups.annotations()
        return [mask | said for masks, said_of in zip(self.masks, about) for mask, said in zip(masks, said_of)]

    def listed(self) -> list[dict[str, Any]]:
        """Return COCO's categories: named groups, else the classes of the detector, else one."""
        if self.groups is not None:
            return self.groups.categories()
        return self.categories or CATEGORIES

    def pictures(self, detail: float | None = None) -> list[tuple[np.ndarray, str]]:
        """Draw the masks of each photo.

        Args:
            detail: granularity of those that are drawn, see `unseg_d2.levels.shown_at`; ``None`` draws all.

        Returns:
            ``(H, W, 3)`` uint8 RGB and a caption each.

        Raises:
            UnsegError: a photo cannot be read any more.
        """
        return [self._picture(number, detail) for number in range(len(self.images))]

    def table(self, detail: float | None = None) -> dict[str, list[Any]]:
        """Return ``headers`` and ``data``: photo, number of the object from 1, score, share of the photo, and class."""
        classes = self._classes()
        rows = []
        for number, image in enumerate(self.images):
            pixels = image["height"] * image["width"]
            for place in self._shown(number, detail):
                mask = self.masks[number][place]
                row = [image["file_name"], place + 1, round(mask["score"], 3), round(100 * mask["area"] / pixels, 1)]
                rows.append([*row, *([classes[number][place]] if classes else [])])
        return {"headers": [*HEADS, *([CLASS] if classes else [])], "data": rows}

    def write(self, path: Path) -> Path:
        """Write COCO's file of annotations, of all masks."""
        info: dict[str, Any] = {"description": "objects found by unseg_d2", "found_with": self.found_with}
        if self.groups is not None:
            info |= {"groups": self.groups.about}
        write_label_set(path, info, self.images, self.annotations, self.listed())
        return path

    def _shown(self, number: int, detail: float | None) -> list[int]:
        spans = shown_at(self.masks[number])
        return [place for place, span in enumerate(spans) if is_shown(span, detail)]

    def _classes(self) -> list[list[str]]:
        """Return the name of the class of each mask of each photo; none where all are of one class."""
        if self.groups is not None:
            return self.groups.called()
        names = {category["id"]: str(category["name"]) for category in self.categories}
        return [[names[mask["category_id"]] for mask in masks] for masks in self.masks] if names else []

    def _picture(self, number: int, detail: float | None) -> tuple[np.ndarray, str]:
        image, masks, shown = self.images[number], self.masks[number], self._shown(number, detail)
        pixels = as_rgb(self.paths[number], self.reading)
        areas = decode_masks([region(masks[place]) for place in shown], image["height"], image["width"])
        classes, colours = self._classes(), [instance_colour(place) for place in shown]
        worded = len(shown) <= MOST_WORDS
        names = [_in_ascii(classes[number][place]) for place in shown] if classes and worded else None
        if self.groups is not None:
            of_image = self.groups.of_image[number]
            colours = [instance_colour(of_image[place]) if of_image[place] >= 0 else IN_NO_GROUP for place in shown]
        scores = [float(masks[place]["score"]) for place in shown] if worded else None
        drawn = draw_instances(pixels, areas, scores=scores, names=names, colours=colours)
        count = f"{len(shown)} of {len(masks)}" if len(shown) < len(masks) else str(len(masks))
        return drawn, f"{image['file_name']}: {count} object{'s' * (len(masks) != 1)}"


def _in_ascii(name: str) -> str:
    """Return a name as it can be drawn: with a question mark for what OpenCV has no letters for."""
    return name.encode("ascii", "replace").decode("ascii")
