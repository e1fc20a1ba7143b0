"""A training or test sample: read the image, resize its shortest edge, flip, and carry boxes and masks along.

The numbers are those of Detectron2's default mapper with ``MASK_FORMAT: bitmask``: Pillow's bilinear filter on the
8-bit image, nearest neighbour on run-length masks, polygons moved before they are drawn, boxes scaled and not
recomputed from the masks.

Shape legend
    H, W   height and width of the resized image in pixels
    N      number of instances
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode
from pycocotools import mask as mask_utils
from torch import Tensor

from unseg_d2.data.pictures.decode import read_picture
from unseg_d2.data.pictures.reading import DEFAULT_READING, ImageProblem, Picture, Reading
from unseg_d2.data.pictures.report import say_once
from unseg_d2.data.resize import resize_image, resized_shape
from unseg_d2.data.settings import Flip, InputSettings
from unseg_d2.errors import UnsegError
from unseg_d2.rle import decode_confidence, to_rle, to_rles
from unseg_d2.storage.addresses import to_text


@dataclass
class Sample:
    """One image with its instances, as the detectors see it.

    Attributes:
        image: ``(3, H, W)`` uint8 RGB.
        boxes: ``(N, 4)`` float32 x1, y1, x2, y2 in px.
        masks: ``(N, H, W)`` bool.
        scores: ``(N,)`` float32 in [0, 1].
        confidence: ``(N, H, W)`` uint8 spatial confidence, 255 meaning 1, or ``None`` where no annotation has one; only
            what lies within the mask means something.
        file_name: absolute path of the image.
        image_id: id of the image in its data set.
        height: height of the original image, px.
        width: width of the original image, px.
        classes: ``(N,)`` int64 class numbers, or ``None`` where all are of class 0.
        done: every object of the image has its mask, so that what has none is background.
        crowds: ``(M, 4)`` float32 boxes of crowd regions, x1, y1, x2, y2 in px, ``None`` where there are none; of two
            samples, copy-paste keeps those of the target.
    """

    image: Tensor
    boxes: Tensor
    masks: Tensor
    scores: Tensor
    confidence: Tensor | None
    file_name: str
    image_id: int | str
    height: int
    width: int
    classes: Tensor | None = None
    done: bool = False
    crowds: Tensor | None = None

    def __len__(self) -> int:
        return self.boxes.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the resized image, px."""
        return self.image.shape[1], self.image.shape[2]

    def class_numbers(self) -> Tensor:
        """Return ``(N,)`` int64, on the device of the boxes."""
        if self.classes is None:
            return torch.zeros(len(self), dtype=torch.int64, device=self.boxes.device)
        return self.classes


@dataclass(frozen=True)
class Augmentation:
    """What is drawn per image: the length of the shortest edge, and whether it is mirrored, with probability 1/2.

    Attributes:
        settings: sizes and mirroring; spatial confidence within a mask is at least ``min_confidence``, because
            refinement may have added pixels that no 3D cut has seen (CutS3D, section 3.4).
        with_classes: instances have the class of their annotation; otherwise all are of class 0.
    """

    settings: InputSettings
    with_classes: bool = False

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> Augmentation:
        """Read ``INPUT`` of a recipe; there are classes where ``MODEL.ROI_HEADS.NUM_CLASSES`` is not 1."""
        return cls(InputSettings.from_config(cfg), with_classes=cfg.MODEL.ROI_HEADS.NUM_CLASSES > 1)

    def draw(self, rng: np.random.Generator, height: int, width: int) -> Geometry:
        """Draw size and flip for an image of ``height`` x ``width`` px."""
        lengths, flip = self.settings.min_size_train, self.settings.random_flip
        if self.settings.min_size_train_sampling == "range":
            short = int(rng.integers(lengths[0], lengths[-1] + 1))
        else:
            short = int(rng.choice(lengths))
        new_height, new_width = resized_shape(height, width, short, self.settings.max_size_train)
        flipped = flip != "none" and rng.random() < 0.5
        return Geometry(height, width, new_height, new_width, flip if flipped else "none")


@dataclass(frozen=True)
class Geometry:
    """A resize from ``height`` x ``width`` to ``new_height`` x ``new_width`` px, followed by a flip."""

    height: int
    width: int
    new_height: int
    new_width: int
    flip: Flip = "none"

    def image(self, image: np.ndarray) -> Tensor:
        """Resize and flip an image ``(height, width, 3)`` uint8; returns ``(3, H, W)``."""
        image = resize_image(image, self.new_height, self.new_width)
        return torch.from_numpy(np.ascontiguousarray(self._flip(image).transpose(2, 0, 1)))

    def points(self, points: np.ndarray) -> np.ndarray:
        """Scale and flip coordinates ``(..., 2)`` x, y in px of the original image."""
        scaled = points * (self.new_width / self.width, self.new_height / self.height)
        if self.flip == "horizontal":
            scaled[..., 0] = self.new_width - scaled[..., 0]
        elif self.flip == "vertical":
            scaled[..., 1] = self.new_height - scaled[..., 1]
        return scaled

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Scale, flip and clip boxes ``(N, 4)`` x1, y1, x2, y2."""
        corners = self.points(boxes.reshape(-1, 2, 2))
        low, high = corners.min(axis=1).clip(min=0), corners.max(axis=1).clip(min=0)
        return np.minimum(np.concatenate([low, high], axis=1), [self.new_width, self.new_height] * 2)

    def masks(self, segmentations: list[Any]) -> np.ndarray:
        """Decode, resize and flip run-length masks or polygons; returns ``(N, H, W)`` bool."""
        result = np.zeros((len(segmentations), self.new_height, self.new_width), dtype=bool)
        rows = _nearest(self.height, self.new_height)
        columns = _nearest(self.width, self.new_width)
        rows = rows[::-1] if self.flip == "vertical" else rows
        columns = columns[::-1] if self.flip == "horizontal" else columns
        encoded = iter(to_rles([s for s in segmentations if not isinstance(s, list)], self.height, self.width))
        for mask, segmentation in zip(result, segmentations):
            if isinstance(segmentation, list):
                polygons = [self.points(np.reshape(p, (-1, 2)).astype(float)).ravel().tolist() for p in segmentation]
                mask[:] = mask_utils.decode(to_rle(polygons, self.new_height, self.new_width))
            else:
                mask[:] = mask_utils.decode(next(encoded)).T[columns].T[rows]  # RLEs are decoded column by column
        return result

    def confidence(self, grid: np.ndarray) -> np.ndarray:
        """Enlarge a patch grid ``(h, w)`` that covers the image to ``(H, W)``, bilinearly, and flip it."""
        return self._flip(cv2.resize(grid, (self.new_width, self.new_height), interpolation=cv2.INTER_LINEAR))

    def _flip(self, array: np.ndarray) -> np.ndarray:
        if self.flip == "none":
            return array
        return array[:, ::-1] if self.flip == "horizontal" else array[::-1]


def load_sample(record: dict[str, Any], *, rng: np.random.Generator, augmentation: Augmentation) -> Sample:
    """Make a training sample, with the boxes alone of crowd annotations; instances that vanish are left out.

    Args:
        record: Detectron2's standard dataset dict.
        rng: source of the draws of size and flip.
        augmentation: what may be drawn.

    Returns:
        The sample; an annotation without ``segmentation`` has its box as its mask.

    Raises:
        UnsegError: the image cannot be read or has another size than the record says, or a mask is damaged.
    """
    image = _read(record, augmentation.settings.reading)
    height, width = image.shape[:2]
    geometry = augmentation.draw(rng, height, width)
    annotations = [a for a in record.get("annotations", ()) if not a.get("iscrowd", 0)]
    corners = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    try:
        planes = geometry.masks([a.get("segmentation") or _rectangle(box) for a, box in zip(annotations, corners)])
        confidence = _confidence(annotations, geometry, augmentation.settings.min_confidence)
    except UnsegError as error:
        raise UnsegError(f"An annotation of {record['file_name']} cannot be used: {error}") from None
    boxes = torch.from_numpy(geometry.boxes(corners).astype(np.float32))
    seen = torch.tensor([bool(mask.any()) for mask in planes], dtype=torch.bool)  # stops at the first pixel
    masks = torch.from_numpy(planes)
    kept = (boxes[:, 2:] - boxes[:, :2] > 1e-5).all(dim=1) & seen
    scores = torch.tensor([a.get("score", 1.0) for a in annotations], dtype=torch.float32)
    classes = None
    if augmentation.with_classes:
        classes = torch.tensor([a.get("category_id", 0) for a in annotations], dtype=torch.int64)
    if not kept.all():
        boxes, masks, scores = boxes[kept], masks[kept], scores[kept]
        confidence = None if confidence is None else confidence[kept]
        classes = None if classes is None else classes[kept]
    about = record["file_name"], record["image_id"], height, width
    done = bool(record.get("done")) and len(annotations) == len(record.get("annotations", ()))  # no crowd is done
    crowds = _crowd_boxes(record, geometry)
    return Sample(geometry.image(image), boxes, masks, scores, confidence, *about, classes, done, crowds)


def load_test_image(
    record: dict[str, Any], *, min_size: int, max_size: int, reading: Reading = DEFAULT_READING
) -> Sample:
    """Make a sample without instances.

    Args:
        record: Detectron2's standard dataset dict; annotations are ignored.
        min_size: shortest edge, px; 0 keeps the size.
        max_size: upper limit of the longest edge, px.
        reading: how the file becomes RGB.

    Raises:
        UnsegError: the image cannot be read or has another size than the record says.
    """
    return image_sample(_read(record, reading), record, min_size=min_size, max_size=max_size)


def image_sample(image: np.ndarray, record: dict[str, Any], *, min_size: int, max_size: int) -> Sample:
    """Make a sample without instances of an image that has been read.

    Args:
        image: ``(height, width, 3)`` uint8 RGB.
        record: its ``file_name`` and ``image_id``.
        min_size: shortest edge, px; 0 keeps the size.
        max_size: upper limit of the longest edge, px.
    """
    height, width = image.shape[:2]
    geometry = Geometry(height, width, *resized_shape(height, width, min_size, max_size))
    pixels = geometry.image(image)
    masks = torch.zeros(0, *pixels.shape[1:], dtype=torch.bool)
    name, image_id = record["file_name"], record["image_id"]
    return Sample(pixels, torch.zeros(0, 4), masks, torch.zeros(0), None, name, image_id, height, width)


def batches_of_one_size(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """Group neighbouring samples, in their order, so that no image of a batch is padded to the size of another.

    Args:
        samples: images.
        size: most images in a batch.

    Raises:
        UnsegError: ``size`` is below 1.
    """
    if size < 1:
        raise UnsegError(f"TEST.IMS_PER_BATCH is {size}; it must be 1 or more.")
    batch: list[Sample] = []
    for sample in samples:
        if batch and (len(batch) == size or sample.image.shape != batch[0].image.shape):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def _read(record: dict[str, Any], reading: Reading) -> np.ndarray:
    """The image of a record, with the height and width that the record states.

    Published label sets ignore the EXIF orientation: where the size fits only without applying it, it is not applied.
    """
    path = record["file_name"]
    expected = (record.get("height"), record.get("width"))
    try:
        picture = read_picture(path, reading)
        if _lies(picture, expected):
            picture = read_picture(path, replace(reading, exif="ignore"))
            picture = replace(picture, treatment=picture.treatment | {"lying": True})
    except ImageProblem as problem:
        raise UnsegError(
            f"The image {to_text(path)} cannot be used: {problem}. Repair it or remove it from the data set."
        ) from None
    image = picture.pixels
    stated = tuple(found if side is None else side for found, side in zip(image.shape, expected))
    if image.shape[:2] != stated:
        turned = " turned as EXIF says" if picture.treatment.get("turned") else ""
        turned = " not turned, because INPUT.EXIF is ignore" if picture.treatment.get("unturned") else turned
        raise UnsegError(
            f"The image {to_text(path)} has {image.shape[0]}x{image.shape[1]} pixels (height x width){turned}, but the "
            f"annotations are for {stated[0]}x{stated[1]}; is it the image that was annotated?"
        )
    say_once(Path(path), picture.treatment)
    return image


def _lies(picture: Picture, expected: tuple[Any, Any]) -> bool:
    """Whether a picture that was turned has the size that is expected only as it is stored."""
    size = picture.pixels.shape[:2]
    return bool(picture.treatment.get("turned")) and size != expected and size[::-1] == expected


def _crowd_boxes(record: dict[str, Any], geometry: Geometry) -> Tensor | None:
    """Return the boxes ``(M, 4)`` of crowd regions, ``None`` where there are none."""
    boxes = np.array([a["bbox"] for a in record.get("annotations", ()) if a.get("iscrowd", 0)], dtype=np.float64)
    if not len(boxes):
        return None
    boxes[:, 2:] += boxes[:, :2]
    return torch.from_numpy(geometry.boxes(boxes).astype(np.float32))


def _rectangle(box: np.ndarray) -> list[list[float]]:
    left, top, right, bottom = box.tolist()
    return [[left, top, right, top, right, bottom, left, bottom]]


def _confidence(annotations: list[dict[str, Any]], geometry: Geometry, least: float) -> Tensor | None:
    """Spatial confidence ``(N, H, W)`` uint8, 255 everywhere for an annotation without one."""
    if not any(a.get("confidence") for a in annotations):
        return None
    result = np.full((len(annotations), geometry.new_height, geometry.new_width), 255, dtype=np.uint8)
    for plane, annotation in zip(result, annotations):
        if annotation.get("confidence"):
            plane[:] = geometry.confidence(decode_confidence(annotation["confidence"]))
    return torch.from_numpy(np.maximum(result, np.uint8(round(255 * least)), out=result))


@lru_cache(maxsize=256)
def _nearest(old: int, new: int) -> np.ndarray:
    """Which of ``old`` pixels each of ``new`` takes; the step adds up as in Pillow, so that ties agree."""
    if old == new:
        return np.arange(old)
    step = old / new
    return np.minimum(np.cumsum(np.r_[0.5 * step, np.full(new - 1, step)]).astype(int), old - 1)
