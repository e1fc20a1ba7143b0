"""Worker processes that take jobs from their parent, report as they go, and end when the parent ends.

Each has one torch, BLAS and OpenCV thread, so that results do not depend on their number. Jobs are handed out one by
one over a pipe per worker: no queue that a killed process could leave locked.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from unseg_d2.data.at_work import MOST_CHARACTERS
from unseg_d2.devices import device_failure
from unseg_d2.errors import UnsegError

Job = Any
Report = Any
Prepare = Callable[[int], Callable[[Job], Iterator[Report]]]
"""Called once in each worker with its index; what it returns does a job and yields reports. Must be picklable. Where it
has a method ``close``, that is called at the end if there are no workers."""

Retry = Callable[[Job, list[Report], UnsegError], Job]
"""Called when the worker of a job is killed, with what it reported and why it ended; returns the job for the worker in
its place, or raises the error."""

logger = logging.getLogger(__name__)

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    index: int
    job: Job = None
    reports: list[Report] = field(default_factory=list)


def run_jobs(prepare: Prepare, jobs: list[Job], num_workers: int, retry: Retry | None = None) -> Iterator[Report]:
    """Do jobs in worker processes and yield their reports as they come.

    Args:
        prepare: see `Prepare`.
        jobs: handed out in this order.
        num_workers: processes; 0 does everything in this one.
        retry: see `Retry`; ``None`` ends everything when a worker is killed.

    Raises:
        UnsegError: a worker raised one or anything else, while it began too, or was killed and is not replaced.
    """
    if num_workers == 0:
        do = prepare(0)
        try:
            for job in jobs:
                yield from do(job)
        finally:
            if close := getattr(do, "close", None):
                close()
        return
    workers = _start(prepare, min(num_workers, len(jobs)))
    try:
        yield from _serve(workers, list(reversed(jobs)), prepare, retry)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


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


def _serve(workers: list[_Worker], jobs: list[Job], prepare: Prepare, retry: Retry | None) -> Iterator[Report]:
    """Give each idle worker a job until there are none left, passing on what they report."""
    busy = {worker.connection: worker for worker in workers}
    while busy:
        for connection in wait(list(busy)):
            assert isinstance(connection, Connection)
            worker = busy[connection]
            try:
                kind, value = connection.recv()
            except (EOFError, ConnectionResetError):
                if retry is None or worker.job is None:  # one that never began would not begin the next time
                    raise _killed(worker) from None
                jobs.append(retry(worker.job, worker.reports, _killed(worker)))
                with one_thread_each():
                    fresh = _start_one(prepare, worker.index)
                workers[workers.index(worker)] = fresh
                del busy[connection]
                busy[fresh.connection] = fresh
                continue
            if kind == "report":
                worker.reports.append(value)
                yield value
            elif kind == "problem":
                message, trace = value
                logger.debug("%s", trace)
                raise UnsegError(message)
            elif jobs:
                worker.job, worker.reports = jobs.pop(), []
                connection.send(worker.job)
            else:
                worker.job = None
                connection.send(None)
                del busy[connection]


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
    except UnsegError as error:
        connection.send(("problem", (str(error), traceback.format_exc())))
    except Exception as error:  # passed on to the parent, whatever it is
        connection.send(("problem", (device_failure(error) or _sentence(error), traceback.format_exc())))


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
