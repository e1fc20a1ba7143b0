"""Batches of samples for training and test.

Training batch t is a pure function of (seed, t, rank): its images follow from `schedule.batch_order`, and everything
random about an image from a generator seeded with (seed, t, place of the image in the batch over all processes). So a
resumed run sees what an uninterrupted one does, whatever the number of loader processes, and two processes together
see what one would.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader, Dataset, Sampler

from unseg_d2.batch_loader import batch_loader
from unseg_d2.data.batch_paste import CopyPaste, PlannedBatch
from unseg_d2.data.paste_source import PasteSources, orientation_groups
from unseg_d2.data.sample import Augmentation, Sample, load_sample, load_test_image
from unseg_d2.data.schedule import batch_order
from unseg_d2.data.settings import InputSettings
from unseg_d2.data.training_records import usable_records
from unseg_d2.data.transport import PackedBatch, PackedRecords, pack, unpack
from unseg_d2.devices import device_failure
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write

_PICTURED_BATCHES = 8  # batches of a run that VISUALIZE_COPY_PASTE draws
_GOLDEN_ANGLE = 137.508  # degrees; hues this far apart stay apart however many there are


def build_train_loader(
    records: Sequence[dict[str, Any]], cfg: CfgNode, *, start_iter: int = 0, rank: int = 0, world_size: int = 1
) -> Iterable[list[Sample]]:
    """Make the endless stream of training batches of one process.

    Args:
        records: Detectron2's standard dataset dicts.
        cfg: configuration; ``DATALOADER``, ``INPUT``, ``SOLVER.IMS_PER_BATCH``, ``MODEL.MASK_ON``,
            ``MODEL.ROI_HEADS.NUM_CLASSES`` (1 takes all annotations as one class) and ``SEED`` (if negative, a random
            one is drawn here, and the run cannot be repeated).
        start_iter: number of the first batch.
        rank: which process this is, in [0, world_size).
        world_size: number of processes; each gets ``IMS_PER_BATCH / world_size`` images.

    Returns:
        An iterable that starts at ``start_iter`` each time it is iterated.

    Raises:
        UnsegError: nothing to train on, contradicting settings, or, while iterating, an image that cannot be used.
    """
    batch_size = cfg.SOLVER.IMS_PER_BATCH
    if batch_size < 1 or batch_size % world_size:
        raise UnsegError(f"SOLVER.IMS_PER_BATCH is {batch_size}, which {world_size} processes cannot share evenly.")
    seed = cfg.SEED if cfg.SEED >= 0 else int(np.random.SeedSequence().generate_state(1)[0])
    records = usable_records(records, cfg)
    groups = orientation_groups(records, cfg)
    copy_paste = CopyPaste.from_cfg(cfg)
    augmentation = Augmentation.from_cfg(cfg)
    dataset = _TrainBatches(PackedRecords(records), groups, augmentation, copy_paste, seed)
    sampler = _TrainSampler(groups, batch_size, seed, start_iter, rank, world_size)
    loader = batch_loader(dataset, sampler, cfg.DATALOADER.NUM_WORKERS, pin_memory=_pins(cfg))
    if copy_paste is None:
        return _Batches(loader)
    batches = _Batches(loader, copy_paste.finish)
    if copy_paste.pictures is None:
        return batches
    return _Pictured(batches, copy_paste.pictures, start_iter, sampler.first)


def build_test_loader(records: Sequence[dict[str, Any]], cfg: CfgNode) -> Iterable[Sample]:
    """Make the images of a data set in its order, resized for testing, without instances.

    Args:
        records: Detectron2's standard dataset dicts.
        cfg: configuration; ``INPUT.MIN_SIZE_TEST``, ``INPUT.MAX_SIZE_TEST`` and ``DATALOADER.NUM_WORKERS``.

    Returns:
        An iterable with a length; raises `UnsegError` at an image that cannot be used.
    """
    dataset = _TestImages(PackedRecords(records, with_annotations=False), InputSettings.from_config(cfg))
    workers = min(cfg.DATALOADER.NUM_WORKERS, len(records))
    return _Images(batch_loader(dataset, range(len(records)), workers, pin_memory=_pins(cfg)))


def _pins(cfg: CfgNode) -> bool:
    """Whether batches go to a GPU, which copies from page-locked memory while it computes."""
    on_gpu = cfg.MODEL.DEVICE == "auto" or cfg.MODEL.DEVICE.startswith("cuda")
    return cfg.DATALOADER.PIN_MEMORY and on_gpu and torch.cuda.is_available()


class _TrainSampler(Sampler):
    """Yields (iteration, first place in the batch over all processes, indices of this process)."""

    def __init__(
        self, groups: np.ndarray, batch_size: int, seed: int, start_iter: int, rank: int, world_size: int
    ) -> None:
        self.groups, self.batch_size, self.seed, self.start_iter = groups, batch_size, seed, start_iter
        self.share = batch_size // world_size
        self.first = rank * self.share

    def __iter__(self) -> Iterator[tuple[int, int, list[int]]]:
        order = batch_order(self.groups, self.batch_size, self.seed, start=self.start_iter)
        for iteration, batch in enumerate(order, start=self.start_iter):
            yield iteration, self.first, batch[self.first : self.first + self.share].tolist()


class _TrainBatches(Dataset):
    """Maps what the sampler yields to a whole batch."""

    def __init__(
        self,
        records: PackedRecords,
        groups: np.ndarray,
        augmentation: Augmentation,
        copy_paste: CopyPaste | None,
        seed: int,
    ) -> None:
        self.records, self.sources = records, PasteSources(records, groups)
        self.augmentation, self.copy_paste, self.seed = augmentation, copy_paste, seed

    def __getitem__(self, item: tuple[int, int, list[int]]) -> PackedBatch | PlannedBatch | _Failure:
        iteration, first, indices = item
        generators = [np.random.default_rng([self.seed, iteration, first + i]) for i in range(len(indices))]
        try:
            records = [self.records[index] for index in indices]
            samples = [self._load(record, rng) for record, rng in zip(records, generators)]
            if self.copy_paste is None:
                return pack(samples)
            if self.copy_paste.settings.copy_paste_source == "batch":
                sources = samples[::-1]
            else:
                sources = [self._load(self.sources.draw(record, rng), rng) for record, rng in zip(records, generators)]
            return self.copy_paste.prepare(sources, samples, generators)
        except Exception as error:
            return _Failure.of(error, self.records, indices)

    def _load(self, record: dict[str, Any], rng: np.random.Generator) -> Sample:
        return load_sample(record, rng=rng, augmentation=self.augmentation)


@dataclass
class _TestImages(Dataset):
    """Maps an index to a test image."""

    records: PackedRecords
    settings: InputSettings

    def __getitem__(self, index: int) -> PackedBatch | _Failure:
        low, high = self.settings.min_size_test, self.settings.max_size_test
        try:
            record = self.records[index]
            return pack([load_test_image(record, min_size=low, max_size=high, reading=self.settings.reading)])
        except Exception as error:
            return _Failure.of(error, self.records, [index])


@dataclass(frozen=True)
class _Failure:
    """An error on its way out of a loader process, from which an exception would come as a page of text."""

    message: str
    trace: str | None

    @classmethod
    def of(cls, error: Exception, records: PackedRecords, indices: list[int]) -> _Failure:
        if isinstance(error, UnsegError):
            return cls(str(error), None)
        if reason := device_failure(error):
            return cls(reason, traceback.format_exc())
        names = ", ".join(records.file_name(index) for index in indices)
        return cls(f"Loading one of {names} failed: {type(error).__name__}: {error}", traceback.format_exc())

    def throw(self) -> None:
        raise UnsegError(self.message) from (RuntimeError(self.trace) if self.trace else None)


class _Batches:
    """The batches of a data loader, unpacked."""

    def __init__(self, loader: DataLoader, finish: Callable[[Any], list[Sample]] = unpack) -> None:
        self.loader, self.finish = loader, finish

    def __iter__(self) -> Iterator[list[Sample]]:
        for item in self.loader:
            if isinstance(item, _Failure):
                item.throw()
            yield self.finish(item)


@dataclass(frozen=True)
class _Pictured:
    """Batches; the first ones of a run are drawn into a folder as they pass."""

    batches: Iterable[list[Sample]]
    folder: Path
    start_iter: int
    first: int  # place of the first sample in the batch over all processes

    def __iter__(self) -> Iterator[list[Sample]]:
        for iteration, batch in enumerate(self.batches, start=self.start_iter):
            if iteration < _PICTURED_BATCHES:
                for place, sample in enumerate(batch, start=self.first):
                    write_sample(self.folder / f"{iteration:04d}_{place:02d}.png", sample)
            yield batch


def draw_sample(sample: Sample) -> np.ndarray:
    """Draw a sample as the detector gets it: the image ``(H, W, 3)`` uint8 RGB with boxes and outlines of masks."""
    canvas = np.ascontiguousarray(sample.image.permute(1, 2, 0).cpu().numpy())
    for index, (mask, box) in enumerate(zip(sample.masks.cpu().numpy(), sample.boxes.round().int().tolist())):
        hue = int(index * _GOLDEN_ANGLE % 360 / 2)
        colour = cv2.cvtColor(np.array([[[hue, 255, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, colour, 1)
        cv2.rectangle(canvas, (box[0], box[1]), (box[2] - 1, box[3] - 1), colour, 1)
    return canvas


def write_sample(path: str | Path, sample: Sample) -> None:
    """Write `draw_sample` to a PNG file.

    Raises:
        UnsegError: the disk is full or the folder cannot be written to.
    """
    with atomic_write(path) as file:
        file.write(cv2.imencode(".png", draw_sample(sample)[..., ::-1])[1].tobytes())


class _Images:
    """The images of a data loader, one by one."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Sample]:
        for batch in _Batches(self.loader):
            yield from batch

    def __len__(self) -> int:
        return len(self.loader)
