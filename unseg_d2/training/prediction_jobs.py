"""The parts of a prediction as jobs, for machines that have no process group: each is predicted by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.content import content_of
from unseg_d2.detectors.protocol import Engine
from unseg_d2.errors import UnsegError
from unseg_d2.jobs.jobs import Jobs
from unseg_d2.jobs.visible import wait_until_visible
from unseg_d2.training.prediction_parts import part_path, write_part

MOST_TRIES = 3
"""Processes that a part may end before the command does."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartJob:
    """A part.

    Attributes:
        index: its number.
        images: records of its images.
        counted: images that were reported before.
        tries: processes that ended while they predicted it.
    """

    index: int
    images: list[dict[str, Any]]
    counted: int = 0
    tries: int = 0


@dataclass(frozen=True)
class PartMaker:
    """Prepares a process to predict parts; picklable, so that it can be sent to other machines.

    Attributes:
        engine: runs the network.
        cfg: recipe of the network.
        weights: checkpoint.
        folder: of the parts, absolute.
        category_ids: of the classes, see `ImageList.category_ids`.
    """

    engine: Engine
    cfg: CfgNode
    weights: str
    folder: Path
    category_ids: list[Any] | int

    def __call__(self, worker: int) -> Callable[[PartJob], Iterator[int]]:
        """Return the function that predicts a part and reports 1 for each image."""
        cfg = edited(self.cfg, {"DATALOADER.NUM_WORKERS": 0})  # a part is too short for processes of its own
        predictor = self.engine.build_predictor(cfg, weights=self.weights)

        def make(job: PartJob) -> Iterator[int]:
            seen = [content_of(image["file_name"]) for image in job.images]
            results: list[dict[str, Any]] = []
            for number, prediction in enumerate(predictor.on_records(job.images), 1):
                results += prediction.to_coco(self.category_ids)
                if number > job.counted:
                    yield 1
            write_part(part_path(self.folder, job.index), seen, results)

        return make


class PartJobs(Jobs):
    """The parts that are missing, each made when it is handed out: records of all images may be large.

    Args:
        missing: their numbers.
        images_of: returns the records of a part.
        folder: of the parts.
    """

    def __init__(self, missing: Iterable[int], images_of: Callable[[int], list[dict[str, Any]]], folder: Path) -> None:
        super().__init__(missing)
        self.images_of, self.folder = images_of, folder

    def take(self) -> PartJob | None:
        """Return the next part."""
        job: int | PartJob | None = super().take()
        return PartJob(job, self.images_of(job)) if isinstance(job, int) else job

    def finish(self, job: PartJob) -> None:
        """Wait until a part can be seen.

        Raises:
            UnsegError: it cannot.
        """
        wait_until_visible(part_path(self.folder, job.index))


class RetriedParts:
    """Decides how a part is resumed after its process ended; see `unseg_d2.jobs.jobs.Retry`."""

    def __call__(self, job: PartJob, reports: Sequence[int], error: UnsegError) -> PartJob:
        """Return the job for the process in its place; raise the error where it has ended too many."""
        if job.tries + 1 >= MOST_TRIES:
            raise error
        logger.warning("%s Its %d images are predicted once more.", str(error).partition(",")[0], len(job.images))
        return replace(self.elsewhere(job, reports), tries=job.tries + 1)

    def elsewhere(self, job: PartJob, reports: Sequence[int]) -> PartJob:
        """Return the job for another machine; what was reported is not counted again."""
        return replace(job, counted=job.counted + len(reports))
