"""Worker processes that take jobs from their parent, report as they go, and end when the parent ends.

Each has one torch, BLAS and OpenCV thread, so that results do not depend on their number. Jobs are handed out one by
one over a pipe per worker: no queue that a killed process could leave locked.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from unseg_d2.data.at_work import MOST_CHARACTERS
from unseg_d2.devices import device_failure
from unseg_d2.errors import UnsegError
from unseg_d2.jobs.jobs import POLL, Job, Jobs, Prepare, Report, Retry, is_something_to_do

logger = logging.getLogger(__name__)

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    index: int
    job: Job = None
    reports: list[Report] = field(default_factory=list)
    is_idle: bool = False


def run_jobs(
    prepare: Prepare, jobs: Jobs | Sequence[Job], num_workers: int, retry: Retry | None = None
) -> Iterator[Report]:
    """Do jobs in worker processes and yield their reports as they come.

    Args:
        prepare: see `Prepare`.
        jobs: handed out in their order.
        num_workers: processes; 0 does everything in this one.
        retry: see `Retry`; ``None`` ends everything when a worker is killed.

    Raises:
        UnsegError: a worker raised one or anything else, while it began too, or was killed and is not replaced.
    """
    jobs = jobs if isinstance(jobs, Jobs) else Jobs(jobs)
    if not is_something_to_do(jobs):
        return
    if num_workers == 0:
        yield from _do_here(prepare, jobs)
        return
    workers = _start(prepare, min(num_workers, len(jobs)))
    try:
        yield from _serve(workers, jobs, prepare, retry)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


def _do_here(prepare: Prepare, jobs: Jobs) -> Iterator[Report]:
    do = prepare(0)
    try:
        while len(jobs):
            job = jobs.take()
            if job is not None:
                yield from do(job)
                jobs.finish(job)
            elif len(jobs):
                time.sleep(POLL)
    finally:
        if close := getattr(do, "close", None):
            close()


def _start(prepare: Prepare, count: int) -> list[_Worker]:
    with one_thread_each():
        return [_start_one(prepare, index) for index in range(count)]


def _start_one(prepare: Prepare, index: int) -> _Worker:
    # "spawn", because a forked process inherits broken thread pools of OpenMP, and cannot use CUDA.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, prepare, index), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours, index)


def _serve(workers: list[_Worker], jobs: Jobs, prepare: Prepare, retry: Retry | None) -> Iterator[Report]:
    """Give each idle worker a job until there will be none any more, passing on what they report."""
    busy = {worker.connection: worker for worker in workers}
    asked = 0.0  # when jobs were last asked for in vain
    while busy:
        idle = [worker for worker in busy.values() if worker.is_idle]
        for connection in wait(list(busy), POLL if idle else None):
            assert isinstance(connection, Connection)
            worker = busy[connection]
            try:
                kind, value = connection.recv()
            except (EOFError, ConnectionResetError):
                del busy[connection]
                fresh = _replaced(worker, jobs, prepare, retry)
                workers[workers.index(worker)] = fresh
                busy[fresh.connection] = fresh
                continue
            if kind == "report":
                worker.reports.append(value)
                yield value
            elif kind == "problem":
                message, trace = value
                logger.debug("%s", trace)
                raise UnsegError(message)
            else:
                if worker.job is not None:
                    jobs.finish(worker.job)
                worker.job, worker.is_idle, asked = None, True, 0.0
        if time.monotonic() - asked >= POLL:
            asked = time.monotonic() if _hand_out(busy, jobs) else 0.0


def _hand_out(busy: dict[Connection, _Worker], jobs: Jobs) -> bool:
    """Give idle workers a job each, and let them end where there will be none; whether one is still idle."""
    for worker in [worker for worker in busy.values() if worker.is_idle]:
        job = jobs.take()
        if job is None and len(jobs):
            return True
        if job is None:
            del busy[worker.connection]
        else:
            worker.job, worker.reports, worker.is_idle = job, [], False
        with suppress(BrokenPipeError, ConnectionResetError):  # it was killed, which shows when it is read from
            worker.connection.send(job)
    return False


def _replaced(worker: _Worker, jobs: Jobs, prepare: Prepare, retry: Retry | None) -> _Worker:
    """Return a worker in the place of one that was killed."""
    if worker.job is not None and retry is not None:
        jobs.put_back(retry(worker.job, worker.reports, _killed(worker)))
    elif not worker.is_idle:  # one that never began would not begin the next time
        raise _killed(worker)
    with one_thread_each():
        return _start_one(prepare, worker.index)


def _killed(worker: _Worker) -> UnsegError:
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with status {code}"
    return UnsegError(
        f"A worker process ended {how}, perhaps for lack of memory; "
        "run the same command again to resume, with fewer --num-workers if memory is short."
    )


def _work(connection: Connection, prepare: Prepare, index: int) -> None:
    """Body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, interrupted, ends its workers
    parent = multiprocessing.parent_process()
    try:
        do = prepare(index)
        while True:
            connection.send(("ready", None))
            job = connection.recv()
            if job is None:
                return
            for report in do(job):
                connection.send(("report", report))
                if parent is not None and not parent.is_alive():
                    return
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone
    except Exception as error:  # passed on to the parent, whatever it is
        connection.send(("problem", problem(error)))


def problem(error: Exception) -> tuple[str, str]:
    """Return what ended a worker as one sentence, and where it happened."""
    sentence = str(error) if isinstance(error, UnsegError) else device_failure(error) or _sentence(error)
    return sentence, traceback.format_exc()


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".") or "no message"
    return (
        f"A worker process failed: {type(error).__name__}: {text[:MOST_CHARACTERS]}. Finished work is kept; --verbose "
        "shows where it happened, please report that."
    )


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes that are started meanwhile have one computing thread each."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
