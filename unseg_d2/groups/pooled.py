"""The pooled features of all masks on disk, in parts that are made once.

::

    <folder>/features/000003.safetensors   the masks of 64 images; renamed into place, so one that is there is complete

A part records the content of its images, so that images which have been replaced since are read again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from unseg_d2.content import Comparison, Content, content_of, files_content
from unseg_d2.data.at_work import at_work
from unseg_d2.data.images import read_image
from unseg_d2.data.pictures.reading import ImageProblem, Reading
from unseg_d2.errors import UnsegError
from unseg_d2.features import FeatureBackend
from unseg_d2.features.registry import FeatureSettings
from unseg_d2.files import atomic_write
from unseg_d2.groups.pool import pool_masks
from unseg_d2.groups.source import Entry, ImageMasks, MaskSource
from unseg_d2.progress import progress_bar
from unseg_d2.pseudo.geometry import NetworkInput, network_input
from unseg_d2.pseudo.make_shard import one_thread
from unseg_d2.pseudo.pipeline import features_of_views
from unseg_d2.rle import decode_masks

PART = 64
"""Images of a part, the unit of resuming."""
ABOUT = "about"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """The masks of some images.

    Attributes:
        features: ``(m, C)`` float32 of unit length, NaN where there is none; C is 0 where no image could be read.
        counts: number of masks of each image.
        objects: ``(m,)`` bool, whether each is an object, not a crowd region.
        images: content of each image.
        failures: why images could not be used, by their place in the part.
    """

    features: np.ndarray
    counts: list[int]
    objects: np.ndarray
    images: list[Content | None]
    failures: dict[int, str]

    @property
    def known(self) -> np.ndarray:
        """Whether each mask has features, ``(m,)`` bool."""
        if not self.features.shape[1]:
            return np.zeros(len(self.features), bool)
        known: np.ndarray = np.isfinite(self.features).all(1)
        return known

    def write(self, path: Path) -> None:
        """Write it, completely or not at all."""
        about = {"images": self.images, "failures": dict(sorted(self.failures.items())), "counts": self.counts}
        features = np.ascontiguousarray(self.features)  # safetensors writes the memory as it lies
        arrays = {"features": features, "objects": self.objects.astype(np.uint8)}
        with atomic_write(path) as file:
            file.write(save(arrays, metadata={ABOUT: json.dumps(about)}))

    @classmethod
    def read(cls, path: Path) -> Part:
        """Read one.

        Raises:
            UnsegError: it is damaged.
        """
        try:
            with safe_open(path, framework="np") as file:
                about = json.loads(file.metadata()[ABOUT])
                features, objects = file.get_tensor("features"), file.get_tensor("objects")
            images = [Content(*seen) if seen else None for seen in about["images"]]
            failures = {int(place): str(reason) for place, reason in about["failures"].items()}
            counts = [int(count) for count in about["counts"]]
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnsegError(f"{path} is damaged ({error}); the same command makes it again.") from None
        if features.ndim != 2 or not len(features) == len(objects) == sum(counts) or len(images) != len(counts):
            raise UnsegError(f"{path} is damaged (its numbers do not fit together); the same command makes it again.")
        return cls(features, counts, objects.astype(bool), images, failures)


@dataclass(frozen=True)
class Look:
    """An image with its masks.

    Attributes:
        name: of its file.
        view: as the network sees it.
        masks: ``(n, H, W)`` bool, at its own size.
    """

    name: str
    view: NetworkInput
    masks: np.ndarray


@dataclass(frozen=True)
class Pooler:
    """Describes the masks of images.

    Attributes:
        backend: describes the patches of an image.
        settings: of the features.
        reading: how images are read.
    """

    backend: FeatureBackend
    settings: FeatureSettings
    reading: Reading

    def part(self, source: ImageMasks, positions: range) -> Part:
        """Return the part of some images."""
        entries = [source.masks(position) for position in positions]
        pooled, seen, failures = self._pooled(source, positions, entries)
        width = max((found.shape[1] for found in pooled.values()), default=0)
        missing = [np.full((len(masks), width), np.nan, np.float32) for masks in entries]
        features = [pooled.get(place, missing[place]) for place in range(len(positions))]
        objects = [not mask["iscrowd"] for masks in entries for mask in masks]
        counts = [len(masks) for masks in entries]
        return Part(np.concatenate(features), counts, np.array(objects, bool), seen, failures)

    def _pooled(
        self, source: ImageMasks, positions: range, entries: Sequence[list[Entry]]
    ) -> tuple[dict[int, np.ndarray], list[Content | None], dict[int, str]]:
        """Return the features of each image that has masks and can be used, its content, and why others cannot be."""
        pooled: dict[int, np.ndarray] = {}
        seen: list[Content | None] = []
        failures: dict[int, str] = {}
        batch: dict[int, Look] = {}
        for place, (position, masks) in enumerate(zip(positions, entries)):
            path = source.picture(position)
            seen.append(content_of(path) if masks else None)
            if not masks:
                continue
            try:
                with at_work(path.name):
                    batch[place] = self._look(path, source.image(position), masks)
            except ImageProblem as problem:
                failures[place] = str(problem)
            if len(batch) == self.settings.batch_size:
                pooled |= self._described(batch, failures)
                batch = {}
        return pooled | self._described(batch, failures), seen, failures

    def _look(self, path: Path, image: Entry, masks: Sequence[Entry]) -> Look:
        """Return an image as the network sees it, with its masks."""
        pixels = read_image(path, self.reading)
        height, width = pixels.shape[:2]
        stated = (image.get("height", height), image.get("width", width))
        if stated != (height, width):
            raise ImageProblem(f"the image has {width}x{height} pixels, its annotations say {stated[1]}x{stated[0]}")
        view = network_input(pixels, self.backend.patch_size, self.settings.resize, self.settings.image_size)
        try:
            return Look(path.name, view, decode_masks([region(mask) for mask in masks], height, width))
        except UnsegError as error:
            raise ImageProblem(f"a mask does not fit the image: {error}") from None

    def _described(self, batch: dict[int, Look], failures: dict[int, str]) -> dict[int, np.ndarray]:
        """Return the features of a batch; where one of its images cannot be described, they are tried one by one."""
        if not batch:
            return {}
        try:
            with at_work(*(look.name for look in batch.values())):
                described = features_of_views(self.backend, [look.view for look in batch.values()])
                return {
                    place: pool_masks(features.tokens, look.masks, look.view.shown_share)
                    for (place, look), features in zip(batch.items(), described, strict=True)
                }
        except ImageProblem as problem:
            if len(batch) == 1:
                failures[next(iter(batch))] = str(problem)
                return {}
        found: dict[int, np.ndarray] = {}
        for place, one in batch.items():
            found |= self._described({place: one}, failures)
        return found


def region(mask: Entry) -> Any:
    """Return what an annotation covers: its mask, or its box where it has none."""
    if mask.get("segmentation"):
        return mask["segmentation"]
    left, top, width, height = mask["bbox"]
    return [[left, top, left + width, top, left + width, top + height, left, top + height]]


class PooledFolder:
    """The parts of a folder.

    Args:
        folder: where they lie, in ``features`` there.
        num_images: of the whole set.
    """

    def __init__(self, folder: Path, num_images: int) -> None:
        self.folder = folder / "features"
        self.positions = [range(start, min(start + PART, num_images)) for start in range(0, num_images, PART)]

    def path(self, number: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"{number:06d}.safetensors"

    def make(self, source: MaskSource, pooler: Pooler) -> int:
        """Make the parts that are not there, are damaged, or whose images have changed; return how many those were."""
        todo = [number for number in range(len(self.positions)) if not self._is_current(number, source)]
        total = sum(map(len, self.positions))
        left = sum(len(self.positions[number]) for number in todo)
        if todo and left < total:
            logger.info("%d of %d images have their features already.", total - left, total)
        bar = progress_bar(total=total, initial=total - left, desc="features of masks", unit=" images")
        with bar, one_thread():
            for number in todo:
                pooler.part(source, self.positions[number]).write(self.path(number))
                bar.update(len(self.positions[number]))
        return len(todo)

    def parts(self) -> Iterator[Part]:
        """Yield the parts in their order."""
        return (Part.read(self.path(number)) for number in range(len(self.positions)))

    def content(self) -> str:
        """Return the sha256 of all parts."""
        return files_content([self.path(number) for number in range(len(self.positions))])

    def _is_current(self, number: int, source: MaskSource) -> bool:
        """Whether a part is there, and its images are what they were when it was made."""
        path, positions = self.path(number), self.positions[number]
        if not path.is_file():
            return False
        try:
            part = Part.read(path)
        except UnsegError as error:
            logger.warning("%s", error)
            return False
        comparison = Comparison(path, path.stat().st_mtime)
        return len(part.images) == len(positions) and not any(
            count and comparison.has_changed(source.picture(position), seen)
            for position, seen, count in zip(positions, part.images, part.counts)
        )
