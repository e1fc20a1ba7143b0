"""Large images by overlapping tiles, whose detections are joined: for objects that are small in the whole image.

Two tiles see the same object where their masks agree in the part of the image that both see. supervision's slicer asks
instead how much two masks overlap anywhere, which takes a part of an object for the object, and compares the masks of
one tile too, among which the detector has already chosen.

Shape legend
    H, W   height and width of the image in pixels
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from unseg_d2.data.image_input import ImageLike, as_rgb
from unseg_d2.data.sample import load_test_image
from unseg_d2.data.settings import InputSettings
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.detectors.predictor import Predictor
from unseg_d2.errors import UnsegError
from unseg_d2.rle import decode_mask, encode_in_box

SMALLEST_TILE = 64
MOST_OVERLAP = 0.8
SAME_OBJECT = 0.5
"""IoU, in what both tiles see, from which two masks are of one object."""
BORDER = 2.0
"""Pixels from the border of a tile within which an object may go on beyond it."""

Window = tuple[int, int, int, int]
"""Top, left, bottom and right in pixels of the image; the last two are outside."""


@dataclass(frozen=True)
class Tiling:
    """How images are divided; each is also looked at as a whole, for what is larger than a tile.

    Attributes:
        size: side of a square tile in pixels of the image; from 64.
        overlap: share of a tile that its neighbour covers too, from 0 to 0.8. An object is whole in some tile if it is
            not larger than the overlap.

    Raises:
        UnsegError: a value is out of range.
    """

    size: int
    overlap: float = 0.2

    def __post_init__(self) -> None:
        if self.size < SMALLEST_TILE:
            raise UnsegError(f"Tiles have {self.size} px, but need at least {SMALLEST_TILE}.")
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise UnsegError(f"The overlap of tiles is {self.overlap:g}, but must lie between 0 and {MOST_OVERLAP:g}.")

    def windows(self, height: int, width: int) -> list[Window]:
        """Return the tiles of an image, evenly spaced, row by row; a single one where the image is no larger.

        Args:
            height: H.
            width: W.

        >>> Tiling(100, 0.2).windows(100, 180)
        [(0, 0, 100, 100), (0, 80, 100, 180)]
        """
        tops, lefts = (self._starts(length) for length in (height, width))
        return [
            (top, left, min(top + self.size, height), min(left + self.size, width)) for top in tops for left in lefts
        ]

    def _starts(self, length: int) -> list[int]:
        beyond = max(length - self.size, 0)
        steps = int(np.ceil(beyond / (self.size * (1 - self.overlap))))
        return [round(beyond * step / max(steps, 1)) for step in range(steps + 1)]


@dataclass(frozen=True)
class TiledPredictor(Predictor):
    """A predictor that divides images into tiles.

    Attributes:
        network: see :class:`Predictor`.
        cfg: recipe; ``INPUT`` says how each tile is resized, ``TEST.DETECTIONS_PER_IMAGE`` how much is found in each.
        tiling: the tiles.
    """

    tiling: Tiling

    def on_records(self, records: Sequence[dict[str, Any]]) -> Iterator[Prediction]:
        """Yield the predictions of a data set in its order; see `Predictor.on_records`."""
        reading = InputSettings.from_config(self.cfg).reading
        for record in records:
            sample = load_test_image(record, min_size=0, max_size=1, reading=reading)
            yield self._of_image(sample.image.numpy().transpose(1, 2, 0), record)

    def on_images(self, images: Iterable[ImageLike]) -> Iterator[Prediction]:
        """Yield the predictions of images in their order; see `Predictor.on_images`."""
        reading = InputSettings.from_config(self.cfg).reading
        for number, image in enumerate(images):
            name = os.fspath(image) if isinstance(image, (str, os.PathLike)) else ""
            yield self._of_image(as_rgb(image, reading), {"file_name": name, "image_id": number})

    def _of_image(self, pixels: np.ndarray, record: dict[str, Any]) -> Prediction:
        height, width = pixels.shape[:2]
        windows = self.tiling.windows(height, width)
        if len(windows) > 1:
            windows.append((0, 0, height, width))
        crops = (pixels[top:bottom, left:right] for top, left, bottom, right in windows)
        found: list[_Found] = []
        for number, prediction in enumerate(super().on_images(crops)):
            found += _in_image(prediction, windows[number], number == len(windows) - 1, (height, width))
        record = {**record, "height": height, "width": width}
        joined = _to_prediction(join(found), record, (height, width), masks=self.cfg.MODEL.MASK_ON)
        return replace(joined, reading=InputSettings.from_config(self.cfg).reading)


@dataclass(frozen=True)
class _Found:
    """A detection in the image.

    Attributes:
        box: ``(4,)`` xyxy in pixels of the image.
        score: in [0, 1].
        label: class number.
        seen: the tile in which it was found.
        mask: bool, in a window around the box; without a mask branch, the box.
        top, left: of the window.
        cut: it touches a border of the tile that is not one of the image.
        whole: it was found in the whole image.
    """

    box: np.ndarray
    score: float
    label: int
    seen: Window
    mask: np.ndarray
    top: int
    left: int
    cut: bool
    whole: bool

    @property
    def window(self) -> Window:
        return self.top, self.left, self.top + self.mask.shape[0], self.left + self.mask.shape[1]


def _in_image(prediction: Prediction, seen: Window, whole: bool, size: tuple[int, int]) -> Iterator[_Found]:
    """Yield the detections of a tile in pixels of the image, each mask in a window of its own."""
    top, left, bottom, right = seen
    rows, columns = bottom - top, right - left
    inner = np.array([left > 0, top > 0, right < size[1], bottom < size[0]])
    for index, box in enumerate(prediction.boxes):
        x, y = (int(side) for side in np.floor(box[:2]).clip(0))
        end_x, end_y = min(int(np.ceil(box[2])) + 1, columns), min(int(np.ceil(box[3])) + 1, rows)
        x, y = max(x - 1, 0), max(y - 1, 0)  # a mask is sampled up to one pixel beyond its box
        mask = np.ones((end_y - y, end_x - x), bool)
        if prediction.rles:
            mask = decode_mask(prediction.rles[index], rows, columns)[y:end_y, x:end_x].copy()
        distance = np.array([box[0], box[1], columns - box[2], rows - box[3]])
        cut = bool((inner & (distance < BORDER)).any())
        place = box + np.array([left, top, left, top], box.dtype)
        score, label = float(prediction.scores[index]), int(prediction.classes[index])
        yield _Found(place, score, label, seen, mask, top + y, left + x, cut, whole)


def join(found: Sequence[_Found]) -> list[_Found]:
    """Join the detections of one object from several tiles, best first.

    Of the detections of an object, one that is complete stays: that of a tile rather than that of the whole image.
    Where none is complete, their masks and boxes are united. The score is the highest of them.

    Args:
        found: of all tiles.
    """
    if not found:
        return []
    pairs = [pair for pair in _that_meet(found) if agree(found[pair[0]], found[pair[1]])]
    ones, others = np.array(pairs, np.int64).reshape(-1, 2).T
    links = coo_array((np.ones(len(pairs), bool), (ones, others)), shape=(len(found), len(found)))
    objects: dict[int, list[_Found]] = {}
    for number, detection in zip(connected_components(links, directed=False)[1].tolist(), found):
        objects.setdefault(number, []).append(detection)
    return sorted((_one_of(members) for members in objects.values()), key=lambda detection: -detection.score)


def _that_meet(found: Sequence[_Found]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of places of detections whose windows overlap: few of all, where an image has many tiles."""
    tops, lefts, bottoms, rights = np.array([detection.window for detection in found]).T
    for one in range(len(found) - 1):
        rest = slice(one + 1, None)
        meet = (tops[rest] < bottoms[one]) & (bottoms[rest] > tops[one])
        meet &= (lefts[rest] < rights[one]) & (rights[rest] > lefts[one])
        yield from ((one, one + 1 + other) for other in np.flatnonzero(meet).tolist())


def agree(one: _Found, other: _Found) -> bool:
    """Return whether two detections of different tiles are of one object: in what both tiles see, their masks agree."""
    if one.seen == other.seen or one.label != other.label or _common(one.window, other.window) is None:
        return False
    both = _common(one.seen, other.seen)
    if both is None:
        return False
    first, second = (_part(detection, both) for detection in (one, other))
    area = _common(one.window, other.window) or both
    shared = int((_part(one, area) & _part(other, area)).sum())
    return shared > SAME_OBJECT * (int(first.sum()) + int(second.sum()) - shared)


def _one_of(members: Sequence[_Found]) -> _Found:
    score = max(detection.score for detection in members)
    complete = [detection for detection in members if not detection.cut]
    if complete:
        return replace(max(complete, key=lambda detection: (not detection.whole, detection.score)), score=score)
    windows = np.array([detection.window for detection in members])
    top, left = windows[:, :2].min(axis=0)
    bottom, right = windows[:, 2:].max(axis=0)
    mask = np.zeros((bottom - top, right - left), bool)
    for detection in members:
        rows, columns = detection.mask.shape
        y, x = detection.top - top, detection.left - left
        mask[y : y + rows, x : x + columns] |= detection.mask
    boxes = np.array([detection.box for detection in members])
    box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    return replace(members[0], box=box, score=score, mask=mask, top=int(top), left=int(left))


def _common(one: Window, other: Window) -> Window | None:
    """Return where two windows overlap."""
    top, left = max(one[0], other[0]), max(one[1], other[1])
    bottom, right = min(one[2], other[2]), min(one[3], other[3])
    return (top, left, bottom, right) if bottom > top and right > left else None


def _part(detection: _Found, area: Window) -> np.ndarray:
    """Return the part of a mask that lies in an area."""
    top, left, bottom, right = (
        side - start for side, start in zip(area, (detection.top, detection.left, detection.top, detection.left))
    )
    part: np.ndarray = detection.mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    return part


def _to_prediction(
    found: Sequence[_Found], record: dict[str, Any], size: tuple[int, int], *, masks: bool
) -> Prediction:
    boxes = np.array([detection.box for detection in found], np.float32).reshape(-1, 4)
    scores = np.array([detection.score for detection in found], np.float32)
    labels = np.array([detection.label for detection in found], np.int64)
    rles = [encode_in_box(d.mask, d.top, d.left, *size) for d in found] if masks else []
    return Prediction(record, size, boxes, scores, rles, labels)
