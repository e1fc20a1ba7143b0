"""What becomes of the images of a worker that was killed: tried once more, then recorded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.killed import MOST_KILLERS, REASON, how
from unseg_d2.pseudo.make_shard import Progress, ShardJob

logger = logging.getLogger(__name__)


class RetriedImages:
    """Decides how a shard goes on after its worker was killed.

    The batch that it worked on is computed once more, as it was, so that a kill from outside changes no result. If it
    kills the next worker too, its images are tried alone, and the one that kills is recorded as a failure.

    Args:
        batch_size: images per batch.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.killers = 0

    def __call__(self, job: ShardJob, reports: Sequence[Progress], error: UnsegError) -> ShardJob:
        """Return the job for the worker in its place.

        Args:
            job: what the killed worker did.
            reports: what it reported.
            error: why it ended; raised when too many images do that.
        """
        if job.outdated:  # is replaced as a whole
            if job.again >= 0:
                raise error
            return replace(job, again=0)
        done = job.counted + sum(report.images for report in reports)
        job = replace(job, counted=done)
        trying = reports[-1].trying if reports else -1
        if trying < 0 and done != job.again:
            logger.warning("%s The images it worked on are tried once more.", how(error))
            return replace(job, again=done)
        if trying < 0 and self.batch_size > 1 and done != job.alone:
            return replace(job, alone=done)
        self.killers += 1
        if self.killers > MOST_KILLERS:
            raise error
        position = max(trying, done)
        name = job.images[position][1]
        logger.warning("%s It worked on %s alone, which is recorded as a failure.", how(error), name)
        return replace(job, failures={**job.failures, position: REASON})

    def elsewhere(self, job: ShardJob, reports: Sequence[Progress]) -> ShardJob:
        """Return the job for another machine; what was reported is not counted again."""
        return job if job.outdated else replace(job, counted=job.counted + sum(report.images for report in reports))
