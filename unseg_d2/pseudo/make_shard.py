"""Make one shard: read its images, find their masks, write a line for each; and the worker that does it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.data.at_work import ProgramError, at_work
from unseg_d2.data.images import ImageFile, ImageProblem, Reading
from unseg_d2.data.pictures.decode import read_picture
from unseg_d2.data.settings import InputSettings
from unseg_d2.depth import GridDepth
from unseg_d2.pseudo.pseudo_masks import PseudoMasks, to_annotation
from unseg_d2.pseudo.renew import Sources, renewed
from unseg_d2.pseudo.shards import ShardFolder, ShardWriter
from unseg_d2.storage.access import StoredFile

Line = dict[str, Any]


class Named(Protocol):
    """Where masks come from, for the ``info`` of a label set: a feature backend, or another label set."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def checksum(self) -> str:
        """sha256 (hex) of its content."""
        ...


class Pipeline(Protocol):
    """Finds the masks of a batch of images; :class:`~unseg_d2.pseudo.pipeline.MaskPipeline` does so."""

    @property
    def features(self) -> Named:
        """What the masks are made from."""
        ...

    @property
    def depth(self) -> GridDepth | None:
        """Source of depth, if any."""
        ...

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile], /) -> list[PseudoMasks]:
        """Return the masks of images ``(H, W, 3)`` uint8, one entry each."""
        ...


Build = Callable[[CfgNode], Pipeline]


@dataclass(frozen=True)
class ShardJob:
    """A shard and its images; the rest is for one whose process was killed.

    Attributes:
        shard: number of the shard.
        images: ``(id, file_name)`` pairs.
        outdated: positions of a finished shard that have changed.
        counted: images that were reported before.
        again: position of the batch that is tried once more, -1 for none.
        alone: position of the batch whose images are tried one by one.
        failures: position of an image to its failure, in place of trying it.
    """

    shard: int
    images: list[tuple[Any, str]]
    outdated: tuple[int, ...] = ()
    counted: int = 0
    again: int = -1
    alone: int = -1
    failures: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """What a batch added: images, masks found in them, images that could not be used.

    ``trying`` is the position of an image that is about to be tried alone, -1 otherwise.
    """

    images: int
    masks: int
    failures: int
    trying: int = -1


@dataclass(frozen=True)
class ShardMaker:
    """Prepares a process to make shards; picklable, so that it can be sent to workers.

    Attributes:
        cfg: settings of the pipeline.
        root: folder that the file names are relative to.
        shards: where the shards go.
        build: makes the pipeline.
    """

    cfg: CfgNode
    root: Path
    shards: ShardFolder
    build: Build

    def __call__(self, worker: int) -> Callable[[ShardJob], Iterator[Progress]]:
        """Return the function that makes a shard and reports after every batch.

        Args:
            worker: index of the process; spreads processes over GPUs.
        """
        cfg = _on_gpu(self.cfg, worker)
        with one_thread():
            pipeline = self.build(cfg)
        reading, sources = InputSettings.from_config(cfg).reading, Sources(self.root, pipeline.depth)

        def make(job: ShardJob) -> Iterator[Progress]:
            with one_thread():
                yield from make_shard(pipeline, self.shards, job, sources, cfg.FEATURES.BATCH_SIZE, reading)

        return make


def make_shard(
    pipeline: Pipeline, shards: ShardFolder, job: ShardJob, sources: Sources, batch_size: int, reading: Reading
) -> Iterator[Progress]:
    """Write the lines of a shard that are missing, batch by batch.

    Args:
        pipeline: finds the masks.
        shards: where the shard goes.
        job: which images.
        sources: the files of the images.
        batch_size: images per call of the pipeline.
        reading: how files become RGB; what cannot be read is recorded as a failure.

    Raises:
        UnsegError: the disk or the memory is full, or the program fails.
    """

    def make(start: int, end: int) -> list[Line]:
        return image_lines(pipeline, job.images[start:end], sources, reading)

    if job.outdated:
        lines = list(shards.lines_of(job.shard))
        yield from map(_progress, renewed(lines, job.outdated, batch_size, make))
        shards.replace(job.shard, lines)
        return
    with ShardWriter(shards, job.shard) as writer:
        if writer.part.is_file():
            writer.truncate(batch_size, sources.current_lines(writer.part))
        yield Progress(writer.done - job.counted, 0, 0)
        for start in range(writer.done, len(job.images), batch_size):
            batch = range(start, min(start + batch_size, len(job.images)))
            if start == job.alone or job.failures.keys() & set(batch):
                lines = yield from _one_by_one(job, batch, sources, make)
            else:
                lines = make(start, start + batch_size)
            writer.append(lines)
            yield _progress(lines)
        writer.finish()


def _one_by_one(
    job: ShardJob, batch: range, sources: Sources, make: Callable[[int, int], list[Line]]
) -> Generator[Progress, None, list[Line]]:
    """Return the lines of a batch that killed processes; each image is announced, so that the one to blame is known."""
    lines: list[Line] = []
    for position in batch:
        key, name = job.images[position]
        if position in job.failures:
            line: Line = {"id": key, "file_name": name, **sources.recorded(name)}
            lines.append(line | {"failure": job.failures[position]})
        else:
            yield Progress(0, 0, 0, trying=position)
            lines += make(position, position + 1)
    return lines


def _progress(lines: list[Line]) -> Progress:
    masks = sum(len(line.get("annotations", [])) for line in lines)
    return Progress(len(lines), masks, sum("failure" in line for line in lines))


def image_lines(
    pipeline: Pipeline, images: Sequence[tuple[Any, str]], sources: Sources, reading: Reading
) -> list[Line]:
    """Return the lines of a batch of images; one that cannot be used gives its reason instead of masks.

    Args:
        pipeline: finds the masks.
        images: ``(id, file_name)`` pairs.
        sources: the files of the images.
        reading: how files become RGB.

    Raises:
        UnsegError: the memory is full, or the program fails.
    """
    lines: list[Line] = [{"id": key, "file_name": name} for key, name in images]
    pixels: dict[int, np.ndarray] = {}
    for index, (_, name) in enumerate(images):
        file = StoredFile(sources.path(name))
        lines[index] |= sources.recorded(name, file)
        try:
            picture = read_picture(file, reading)
        except ImageProblem as problem:
            lines[index]["failure"] = str(problem)
            continue
        pixels[index] = picture.pixels
        if picture.treatment:
            lines[index]["treatment"] = picture.treatment
    files = [ImageFile(sources.root / images[index][1], images[index][1]) for index in pixels]
    for index, found in zip(pixels, _masks(pipeline, list(pixels.values()), files)):
        if isinstance(found, str):
            lines[index]["failure"] = found
        else:
            height, width = pixels[index].shape[:2]
            lines[index] |= {"height": height, "width": width, "annotations": [to_annotation(mask) for mask in found]}
            if found.left_out:
                lines[index]["proposals_left_out"] = found.left_out
            if found.rejected and not found:
                lines[index]["rejected"] = dict(found.rejected)
    return lines


def _masks(pipeline: Pipeline, images: list[np.ndarray], files: list[ImageFile]) -> list[PseudoMasks | str]:
    """Run the pipeline; where it fails, image by image, so that one image does not fail the others.

    Raises:
        UnsegError: it is no fault of an image, see :mod:`unseg_d2.data.at_work`.
    """
    if not images:
        return []
    failure: ProgramError | None = None
    try:
        with at_work(*(file.file_name for file in files)):
            return list(pipeline(images, files))
    except ImageProblem as problem:
        if len(images) == 1:
            return [str(problem)]
    except ProgramError as error:
        if len(images) == 1:
            raise
        failure = error
    alone = [found for image, file in zip(images, files) for found in _masks(pipeline, [image], [file])]
    if failure:  # no image by itself is to blame
        raise failure
    return alone


def _on_gpu(cfg: CfgNode, worker: int) -> CfgNode:
    """Give each worker a GPU of its own where there are several and the settings name none."""
    if cfg.FEATURES.DEVICE not in ("auto", "cuda") or torch.cuda.device_count() < 2:
        return cfg
    return edited(cfg, {"FEATURES.DEVICE": f"cuda:{worker % torch.cuda.device_count()}"})


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums, and so results, may depend on the number of threads."""
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)
