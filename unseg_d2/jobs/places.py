"""Where jobs are done: in processes of this machine, or as tasks of a Ray cluster."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator

from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError
from unseg_d2.jobs.jobs import Jobs, Prepare, Report, Retry
from unseg_d2.jobs.ray_tasks import run_on_ray
from unseg_d2.jobs.settings import RaySettings
from unseg_d2.jobs.workers import run_jobs

LOCAL, RAY = "local", "ray"
PLACES = (LOCAL, RAY)

logger = logging.getLogger(__name__)


def check_place(place: str, cfg: CfgNode) -> None:
    """Refuse an unknown place, and say where settings of another one have no effect.

    Args:
        place: what a user asks for.
        cfg: recipe.

    Raises:
        UnsegError: it is none of :data:`PLACES`.
    """
    if place not in PLACES:
        raise UnsegError(f"Work is done in one of {', '.join(PLACES)}, not in {place!r}.")
    if place == LOCAL and RaySettings.from_config(cfg) != RaySettings():
        _say_once("The settings in RAY have no effect: there is no --engine ray.")


@functools.cache
def _say_once(sentence: str) -> None:
    logger.info(sentence)


def run_jobs_at(
    place: str, cfg: CfgNode, prepare: Prepare, jobs: Jobs, *, num_workers: int, device: str, retry: Retry
) -> Iterator[Report]:
    """Do jobs and yield their reports as they come.

    Args:
        place: one of :data:`PLACES`.
        cfg: recipe; ``RAY`` says how the tasks of a cluster are made.
        prepare: see `Prepare`.
        jobs: what is to be done.
        num_workers: processes of this machine; 0 does everything in this one. A cluster decides itself.
        device: that the jobs compute on, as a recipe names it.
        retry: see `Retry`.

    Raises:
        UnsegError: a job raised one or anything else, or there is no cluster.
    """
    if place == RAY:
        return run_on_ray(prepare, jobs, RaySettings.from_config(cfg), retry, device=device)
    return run_jobs(prepare, jobs, num_workers, retry)
