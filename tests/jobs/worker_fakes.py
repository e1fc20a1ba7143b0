"""Jobs for worker processes, in a module that they import quickly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.errors import UnsegError


def echo(worker: int) -> Callable[[int], Iterator[Any]]:
    """Report each job and the environment it was done in."""

    def do(job: int) -> Iterator[Any]:
        yield job, os.getpid(), os.environ.get("OMP_NUM_THREADS")

    return do


def fail(worker: int) -> Callable[[str], Iterator[Any]]:
    """Fail in the way that the job specifies."""

    def do(job: str) -> Iterator[Any]:
        yield "started"
        if job == "problem":
            raise UnsegError("The disk is full.")
        if job == "crash":
            raise KeyError("a mistake in the code")
        os.kill(os.getpid(), signal.SIGKILL)

    return do


def unable(why: str, worker: int) -> Callable[[str], Iterator[Any]]:
    """Fail before any job."""
    raise MemoryError if why == "memory" else KeyError(why)


def endless(worker: int) -> Callable[[int], Iterator[int]]:
    """Report the process repeatedly."""

    def do(job: int) -> Iterator[int]:
        while True:
            yield os.getpid()
            time.sleep(0.01)

    return do


def double(values: np.ndarray, more: int = 0) -> np.ndarray:
    """Return twice the values, and a number more."""
    return 2 * values + more


def obey(word: str) -> tuple[str, int]:
    """Do as told, and say which process did it."""
    if word == "die":
        os.kill(os.getpid(), 9)
    if word.startswith("die once "):
        path = Path(word.removeprefix("die once "))
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), 9)
    if word == "problem":
        raise UnsegError("The disk is full.")
    if word == "mistake":
        raise KeyError("a mistake")
    if word == "sleep":
        time.sleep(60)
    return word, os.getpid()
