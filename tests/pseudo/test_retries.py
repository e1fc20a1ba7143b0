"""What becomes of the images of a killed worker; whole runs are in test_generate."""

from __future__ import annotations

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.make_shard import Progress, ShardJob
from unseg_d2.pseudo.retries import MOST_KILLERS, RetriedImages

KILLED = UnsegError("A worker process ended by signal 9 (Killed), perhaps for lack of memory; run it again.")
JOB = ShardJob(7, [(index, f"{index}.png") for index in range(6)])


def test_a_batch_is_tried_once_more_then_its_image_is_recorded() -> None:
    retry = RetriedImages(1)
    job = retry(JOB, [Progress(0, 0, 0), Progress(1, 3, 0), Progress(1, 2, 0)], KILLED)
    assert (job.counted, job.again, job.failures) == (2, 2, {})
    job = retry(job, [Progress(0, 0, 0)], KILLED)
    assert list(job.failures) == [2] and "killed twice" in job.failures[2]
    job = retry(job, [Progress(0, 0, 0), Progress(1, 0, 1), Progress(1, 5, 0)], KILLED)
    assert (job.counted, job.again, list(job.failures)) == (4, 4, [2]), "another image gets its own second try"


def test_images_of_a_larger_batch_are_then_tried_alone() -> None:
    retry = RetriedImages(3)
    job = retry(retry(JOB, [Progress(3, 1, 0)], KILLED), [Progress(0, 0, 0)], KILLED)
    assert (job.counted, job.alone, job.failures) == (3, 3, {})
    job = retry(job, [Progress(0, 0, 0), Progress(0, 0, 0, trying=3), Progress(0, 0, 0, trying=4)], KILLED)
    assert list(job.failures) == [4]
    job = retry(job, [Progress(0, 0, 0), Progress(0, 0, 0, trying=3), Progress(0, 0, 0, trying=5)], KILLED)
    assert list(job.failures) == [4, 5]


def test_when_many_images_kill_none_of_them_is_to_blame() -> None:
    retry = RetriedImages(1)
    job = JOB
    for _ in range(MOST_KILLERS):
        job = retry(retry(job, [Progress(1, 0, 0)], KILLED), [], KILLED)
    with pytest.raises(UnsegError, match="lack of memory"):
        retry(retry(job, [Progress(1, 0, 0)], KILLED), [], KILLED)
