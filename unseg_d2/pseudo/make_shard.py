"""Make one shard: read its images, find their masks, write a line for each; and the worker that does it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.data.images import ImageFile
from unseg_d2.data.settings import InputSettings
from unseg_d2.depth import GridDepth
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.pool_sizes import AUTOMATIC, PoolSizes, pool_sizes
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.pseudo.renew import Sources, renewed
from unseg_d2.pseudo.shard_writer import ShardWriter
from unseg_d2.pseudo.shards import ShardFolder
from unseg_d2.pseudo.stages import Stages
from unseg_d2.pseudo.step_processes import picklable
from unseg_d2.pseudo.steps import Line, Staged, Whole


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

logger = logging.getLogger(__name__)


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

    ``trying`` is the position of an image that is about to be tried alone, -1 otherwise; ``seconds`` is where the time
    went, see `unseg_d2.pseudo.stage_times`.
    """

    images: int
    masks: int
    failures: int
    trying: int = -1
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class ShardMaker:
    """Prepares a process to make shards; picklable, so that it can be sent to workers.

    Attributes:
        cfg: settings of the pipeline.
        root: folder that the file names are relative to.
        shards: where the shards go.
        build: makes the pipeline.
        cores: that each process may use, with those that help it; see `pool_sizes`.
    """

    cfg: CfgNode
    root: Path
    shards: ShardFolder
    build: Build
    cores: int = 1

    def __call__(self, worker: int) -> Make:
        """Return the function that makes a shard and reports after every batch.

        Args:
            worker: index of the process; spreads processes over GPUs.
        """
        cfg = _on_gpu(self.cfg, worker)
        with one_thread():
            pipeline = self.build(cfg)
        staged, sources = as_staged(pipeline), Sources(self.root, pipeline.depth)
        stages = Stages(
            *(staged, sources, InputSettings.from_config(cfg).reading),
            batch_size=cfg.FEATURES.BATCH_SIZE,
            sizes=_sizes(cfg, staged, self.cores),
            plugins=cfg.PLUGINS,
        )
        return Make(self.shards, stages, sources, cfg.FEATURES.BATCH_SIZE)


@dataclass(frozen=True)
class Make:
    """Makes shards, with the processes that help; these end with this one, when it fails, and with `close`."""

    shards: ShardFolder
    stages: Stages
    sources: Sources
    batch_size: int

    def __call__(self, job: ShardJob) -> Iterator[Progress]:
        """Make a shard and report after every batch."""
        try:
            with one_thread():
                yield from make_shard(self.stages, self.shards, job, self.sources, self.batch_size)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the processes that help."""
        self.stages.close()


def as_staged(pipeline: Pipeline) -> Staged:
    """Return a pipeline in three steps."""
    return pipeline if hasattr(pipeline, "propose") else Whole(pipeline)  # type: ignore[return-value]


def _sizes(cfg: CfgNode, staged: Staged, cores: int) -> PoolSizes:
    """Return how many processes help; none that finish where a plug-in cannot be sent to them, unless asked for."""
    sizes = pool_sizes(cfg, cores, refines_on_card=staged.refines_on_card)
    if cfg.PSEUDO.FINISHERS == AUTOMATIC and sizes.finishers:
        try:
            picklable(staged.finishing, "PSEUDO.FINISHERS")
        except UnsegError as error:
            logger.warning("%s Masks are finished in the process that computes.", error)
            return PoolSizes(sizes.readers, 0)
    return sizes


def make_shard(
    stages: Stages, shards: ShardFolder, job: ShardJob, sources: Sources, batch_size: int
) -> Iterator[Progress]:
    """Write the lines of a shard that are missing, batch by batch.

    Args:
        stages: make lines of images.
        shards: where the shard goes.
        job: which images.
        sources: the files of the images.
        batch_size: images per batch.

    Raises:
        UnsegError: the disk or the memory is full, or the program fails.
    """

    def make(start: int, end: int) -> list[Line]:
        (lines,) = stages.lines([job.images[start:end]])
        return lines

    stages.clock.begin()
    if job.outdated:
        lines = list(shards.lines_of(job.shard))
        for made in renewed(lines, job.outdated, batch_size, make):
            yield _progress(made, stages)
        shards.replace(job.shard, lines)
        return
    with ShardWriter(shards, job.shard) as writer:
        writer.resume(batch_size, sources.current_lines)
        yield Progress(writer.done - job.counted, 0, 0)
        while writer.done < len(job.images):
            batch = range(writer.done, min(writer.done + batch_size, len(job.images)))
            if batch.start == job.alone or job.failures.keys() & set(batch):
                batches: Iterable[list[Line]] = [(yield from _one_by_one(job, batch, sources, make))]
            else:
                batches = stages.lines(job.images[start : start + batch_size] for start in _run(job, batch))
            for made in batches:
                writer.append(made)
                yield _progress(made, stages)
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


def _run(job: ShardJob, batch: range) -> Iterator[int]:
    """Yield where batches begin that may be under way together, this one the first.

    One that is tried once more is alone: were the process killed again, it would not be known which batch did it.
    """
    yield batch.start
    if batch.start != job.again:
        suspects = {job.again, job.alone, *(position - position % len(batch) for position in job.failures)}
        yield from takewhile(lambda start: start not in suspects, range(batch.stop, len(job.images), len(batch)))


def _progress(lines: list[Line], stages: Stages) -> Progress:
    masks = sum(len(line.get("annotations", [])) for line in lines)
    return Progress(len(lines), masks, sum("failure" in line for line in lines), seconds=stages.seconds())


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
