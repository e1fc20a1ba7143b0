"""Jobs that are handed out one by one: those of a list, or those that other commands leave."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from unseg_d2.errors import UnsegError

Job = Any
Report = Any
Prepare = Callable[[int], Callable[[Job], Iterator[Report]]]
"""Called once in each worker with its index; what it returns does a job and yields reports. Must be picklable. Where it
has a method ``close``, that is called at the end if there are no workers."""

POLL = 1.0
"""Seconds after which jobs are asked for again where there is none now."""


class Retry(Protocol):
    """Decides what becomes of a job whose worker ended while it did it."""

    def __call__(self, job: Job, reports: Sequence[Report], error: UnsegError) -> Job:
        """Return the job for the worker in its place.

        Args:
            job: what the worker did.
            reports: what it reported.
            error: why it ended; raised where the job is not to be tried again.
        """
        ...

    def elsewhere(self, job: Job, reports: Sequence[Report]) -> Job:
        """Return the job for another machine, where the worker's own is gone and the job is not to blame."""
        ...


class Jobs:
    """The jobs of a list, in its order.

    Args:
        jobs: all of them.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = list(reversed(list(jobs)))

    def __len__(self) -> int:
        """Return how many there may still be; 0 when all were handed out."""
        return len(self._jobs)

    def take(self) -> Job | None:
        """Return the next job, or ``None`` where there is none now; while ``len`` is not 0 there may be one later."""
        return self._jobs.pop() if self._jobs else None

    def put_back(self, job: Job) -> None:
        """Hand out a job once more that was taken before, before all others."""
        self._jobs.append(job)

    def finish(self, job: Job) -> None:
        """Note that a job is done."""


def is_something_to_do(jobs: Jobs) -> bool:
    """Wait for the first job, so that nothing is prepared for none; whether there is one."""
    while len(jobs):
        if (job := jobs.take()) is not None:
            jobs.put_back(job)
            return True
        if len(jobs):
            time.sleep(POLL)
    return False
