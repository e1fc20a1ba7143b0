"""The page of a grouping: some masks of each group, and a place for its name; it opens from disk, without a server."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from unseg_d2.data.images import read_image
from unseg_d2.data.pictures.reading import Reading
from unseg_d2.errors import UnsegError
from unseg_d2.groups.members import Members
from unseg_d2.groups.pooled import region
from unseg_d2.groups.source import Entry, MaskSource
from unseg_d2.progress import progress_bar
from unseg_d2.rle import decode_mask
from unseg_d2.viz.decisions import KIND_OF_NAMES, VERSION
from unseg_d2.viz.page import environment, script_hash, script_json, write_text
from unseg_d2.viz.page import source as template_source
from unseg_d2.viz.thumbnails import thumbnail

SHOWN = 12
"""Masks of a group that the page shows, from the most to the least certain."""
FEWEST, MOST = 3, 6000
"""Masks of a group that a page of many groups shows, and of all groups: some 4 kB each, which a browser opens."""
SIDE = 128  # px of a thumbnail
MARGIN = 0.2  # of the box, on each side
FADED = 0.7  # share of white outside the mask

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crop:
    """A mask on the page.

    Attributes:
        picture: JPEG in base64.
        confidence: of the mask, as it is shown.
        name: of its image.
    """

    picture: str
    confidence: str
    name: str


def write_page(
    path: Path, source: MaskSource, members: Members, names: Sequence[str], fingerprint: str, reading: Reading
) -> int:
    """Write the page of a grouping.

    Args:
        path: html file to write.
        source: the masks.
        members: their groups.
        names: of the groups, empty where a group has none.
        fingerprint: of the groups.
        reading: how images are read.

    Returns:
        The number of masks that could not be shown, as their image has changed or is gone.
    """
    number = len(names)
    chosen = [shown_of(members, group, shown_each(number)) for group in range(number)]
    crops, missing = crops_of(source, members, [row for rows in chosen for row in rows], reading)
    sizes, confidence = members.sizes(number), members.mean_confidence(number)
    groups = [
        {
            "number": group + 1,
            "name": name,
            "masks": int(sizes[group]),
            "confidence": f"{confidence[group]:.2f}" if sizes[group] else "-",
            "crops": [crops[row] for row in rows if row in crops],
        }
        for group, (name, rows) in enumerate(zip(names, chosen))
    ]
    values = {
        "title": source.path.name if source.path.name != "labels.json" else source.path.resolve().parent.name,
        "facts": _facts(members, number),
        "groups": groups,
        "style": template_source("groups.css"),
        "script": template_source("groups.js"),
        "script_hash": script_hash,
        "about": script_json({"kind": KIND_OF_NAMES, "version": VERSION, "groups": fingerprint}),
    }
    write_text(path, environment().get_template("groups.html.j2").generate(**values))
    return missing


def shown_each(number: int) -> int:
    """Return how many masks of each group a page of so many groups shows.

    >>> shown_each(20), shown_each(1000), shown_each(100_000)
    (12, 6, 3)
    """
    return max(FEWEST, min(SHOWN, MOST // max(1, number)))


def shown_of(members: Members, group: int, count: int = SHOWN) -> list[int]:
    """Return the masks of a group that are shown: evenly spaced from the most to the least certain."""
    rows = np.flatnonzero(members.groups == group)
    rows = rows[np.argsort(-members.confidence[rows], kind="stable")]
    if len(rows) <= count:
        return [int(row) for row in rows]
    return [int(rows[place * (len(rows) - 1) // (count - 1)]) for place in range(count)]


def crop(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the part of an image around a mask; what is outside the mask is faded, and its outline drawn.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        mask: ``(H, W)`` bool, not empty; the box that its annotation states may be another one.
    """
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    edges = (left - MARGIN * width, top - MARGIN * height, left + (1 + MARGIN) * width, top + (1 + MARGIN) * height)
    x1, y1 = (max(0, int(np.floor(edge))) for edge in edges[:2])
    x2, y2 = (max(low + 1, int(np.ceil(edge))) for edge, low in zip(edges[2:], (x1, y1)))
    part, inside = image[y1:y2, x1:x2], mask[y1:y2, x1:x2]
    scale = min(1.0, 2 * SIDE / max(part.shape[:2]))  # the outline is drawn at a size near that of the thumbnail
    if scale < 1:
        size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        inside = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    shown = np.where(inside[..., None], part, FADED * 255 + (1 - FADED) * part).astype(np.uint8)
    outlines = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
    return np.asarray(cv2.drawContours(np.ascontiguousarray(shown), outlines, -1, (213, 94, 0), 1))


def crops_of(
    source: MaskSource, members: Members, rows: Sequence[int], reading: Reading
) -> tuple[dict[int, Crop], int]:
    """Return the picture of each mask, and how many have none; each image is read once."""
    of_image: dict[int, list[int]] = {}
    for row in rows:
        of_image.setdefault(int(members.images[row]), []).append(row)
    crops: dict[int, Crop] = {}
    for position in progress_bar(sorted(of_image), desc="page", unit=" images", leave=False):
        path = source.picture(position)
        try:
            pixels, masks = read_image(path, reading), source.masks(position)
            for row in of_image[position]:
                mask: Entry = masks[int(members.places[row])]
                area = decode_mask(region(mask), *pixels.shape[:2])
                picture = thumbnail(crop(pixels, area), side=SIDE)
                crops[row] = Crop(picture, f"{members.confidence[row]:.2f}", path.name)
        except UnsegError as error:
            logger.warning("%s is not on the page: %s", path.name, error)
    return crops, len(rows) - len(crops)


def _facts(members: Members, number: int) -> str:
    inside = int(members.sizes(number).sum())
    parts = [f"{inside:,} masks in {number:,} groups"]
    if members.far:
        parts.append(f"{members.far:,} too far from every group")
    if members.unread:
        parts.append(f"{members.unread:,} without features")
    return " · ".join(parts)
