"""What a process of a Ray cluster does: it prepares itself for a run once, does one job after the other, and tells how.

What a task yields are pairs of a kind, such as `REPORT`, and a value.
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from unseg_d2.errors import missing_extra
from unseg_d2.jobs.jobs import Job, Prepare, Report
from unseg_d2.jobs.workers import problem

NODE, READY, REPORT = "node", "ready", "report"
"""The name of the machine; that the process is prepared; what the job reports."""
SAID = "said"
"""Level and text of a message for who gave the command: nobody looks into the logs of the machines."""
PROBLEM = "problem"
"""What ended the job, see `unseg_d2.jobs.workers.problem`."""
OTHER_CARDS = "other cards"
"""The task has other GPUs than the process began with, which cannot change them any more: it waits to be ended."""
CARDS = "CUDA_VISIBLE_DEVICES"
"""Variable of the environment with the GPUs of a task."""
PATIENCE = 60.0
"""Seconds that a process waits to be ended."""


@dataclass(frozen=True)
class Surroundings:
    """What a task finds as the command has it.

    Attributes:
        folder: that the command runs in.
        variables: of the environment.
        threads: that compute; results may depend on their number.
    """

    folder: str
    variables: dict[str, str]
    threads: int

    def enter(self) -> None:
        """Make them those of this process."""
        os.environ.update(self.variables)
        with suppress(OSError):  # a machine without that folder; paths that are not relative do without
            os.chdir(self.folder)
        torch.set_num_threads(self.threads)


@dataclass(frozen=True)
class _Prepared:
    key: str
    cards: str
    do: Callable[[Job], Iterator[Report]]


_prepared: list[_Prepared] = []
"""What this process has prepared, for one run at a time."""


def ray_module() -> Any:
    """Return the module.

    Raises:
        UnsegError: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise missing_extra("ray", "ray") from None


def work(key: str, prepare: Prepare, job: Job, surroundings: Surroundings) -> Iterator[tuple[str, Any]]:
    """Body of a task: prepare what this process does not have yet, do the job, and yield what comes of it.

    Args:
        key: of the run.
        prepare: see `Prepare`.
        job: what is to be done.
        surroundings: of the command.
    """
    said = _Said()
    try:
        yield NODE, ray_module().get_runtime_context().get_node_id()
        surroundings.enter()
        cards = os.environ.get(CARDS, "")
        if _prepared and _prepared[0].cards != cards:
            yield OTHER_CARDS, None
            time.sleep(PATIENCE)
            return
        with said.listening():
            if not _prepared or _prepared[0].key != key:
                _close()
                _prepared.append(_Prepared(key, cards, prepare(0)))
            do = _prepared[0].do
            yield from said.taken()
            yield READY, None
            for report in do(job):
                yield from said.taken()
                yield REPORT, report
            yield from said.taken()
    except Exception as error:  # passed on to the command, whatever it is
        yield from said.taken()
        yield PROBLEM, problem(error)


def _close() -> None:
    for before in _prepared:
        getattr(before.do, "close", lambda: None)()
    _prepared.clear()


class _Said(logging.Handler):
    """Keeps warnings and errors until they are taken."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See the base class."""
        self.messages.append((record.levelno, record.getMessage()))

    def taken(self) -> Iterator[tuple[str, tuple[int, str]]]:
        """Yield the messages since the last time."""
        messages, self.messages = self.messages, []
        for message in messages:
            yield SAID, message

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what is said meanwhile."""
        logger = logging.getLogger("unseg_d2")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
