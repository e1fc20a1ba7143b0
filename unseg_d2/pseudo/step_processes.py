"""Processes that do one step of the work of another, for one image at a time.

A thread of the process that they help asks each and waits for its answer, so that nothing is ever waiting on both sides
and no queue is left locked when one is killed. They end with the process that they help, however that ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any

from unseg_d2.data.at_work import MOST_CHARACTERS
from unseg_d2.devices import device_failure
from unseg_d2.errors import UnsegError
from unseg_d2.jobs.workers import one_thread_each
from unseg_d2.plugins import load_plugins
from unseg_d2.pseudo.killed import how
from unseg_d2.pseudo.parcels import CONTEXT, Arena, Parcel

Step = Callable[..., Any]
ATTEMPTS = 2

logger = logging.getLogger(__name__)

_starting = threading.Lock()
"""Held while a process is started: it inherits the environment, which is changed meanwhile."""


class KilledTwice(UnsegError):
    """The process that worked on an image was killed, and so was the next one."""


@dataclass(frozen=True)
class Answer:
    """What a step returned, and the seconds that it took.

    Attributes:
        value: a `Parcel` where a slot was given for it.
        seconds: in the other process.
    """

    value: Any
    seconds: float


@dataclass
class _Helper:
    process: BaseProcess
    connection: Connection
    is_ready: bool = False


class StepProcesses:
    """Processes that do a step.

    Args:
        step: must be picklable; its plug-ins are imported first.
        number: of processes.
        name: what they are called in messages, such as ``reader``.
        key: the setting of their number.
        arena: where arrays lie.
        plugins: modules to import first.

    Raises:
        UnsegError: the step cannot be sent to another process.
    """

    def __init__(self, step: Step, number: int, *, name: str, key: str, arena: Arena, plugins: Sequence[str]) -> None:
        self._step, self._plugins = picklable(step, key), tuple(plugins)
        self._arena, self._name, self._key = arena, name, key
        self._tasks: SimpleQueue[tuple[Future[Answer], bytes] | None] = SimpleQueue()
        self._closing = False
        multiprocessing.current_process().daemon = False  # daemons may not have children; ours end with us
        self._helpers: list[_Helper] = []
        self._threads: list[threading.Thread] = []
        try:
            for index in range(number):
                self._start(index)
        except BaseException:
            self.close()
            raise
        self._threads = [threading.Thread(target=self._serve, args=(k,), daemon=True) for k in range(number)]
        for thread in self._threads:
            thread.start()

    def submit(self, *arguments: Any, slot: int | None = None) -> Future[Answer]:
        """Have the step done.

        Args:
            *arguments: of the step; a `Parcel` arrives unpacked.
            slot: of the arena, where the value comes back as a `Parcel`.

        Returns:
            What will hold an `Answer`; or raise `KilledTwice`, or an UnsegError that the step raised or that says what
            else it raised.
        """
        future: Future[Answer] = Future()
        self._tasks.put((future, pickle.dumps((arguments, slot), protocol=5)))
        return future

    def close(self) -> None:
        """End the processes, whatever they do."""
        with _starting:
            self._closing = True
        for helper in self._helpers:
            helper.process.terminate()
        for _ in self._threads:
            self._tasks.put(None)
        for helper in self._helpers:
            helper.process.join()
        for thread in self._threads:
            thread.join()

    def _serve(self, index: int) -> None:
        """Body of a thread: have one helper do what is to be done."""
        while (task := self._tasks.get()) is not None:
            future, message = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._ask(index, message))
            except BaseException as error:  # whoever waits for the answer raises it
                future.set_exception(error)

    def _ask(self, index: int, message: bytes) -> Answer:
        for attempt in range(1, ATTEMPTS + 1):
            helper = self._helpers[index]
            try:
                if not helper.is_ready:
                    _value(helper.connection.recv_bytes())
                    helper.is_ready = True
                helper.connection.send_bytes(message)
                return Answer(*_value(helper.connection.recv_bytes()))
            except (EOFError, OSError):
                killed = self._killed(helper)
                if not helper.is_ready:  # one that never began would not begin the next time
                    raise killed from None
                self._start(index)
                if attempt < ATTEMPTS:
                    logger.warning("%s The image it worked on is tried once more.", how(killed))
        raise KilledTwice(str(killed))

    def _start(self, index: int) -> None:
        """Start a helper, in the place of the one of this index where there is one."""
        ours, theirs = CONTEXT.Pipe()
        with _starting, one_thread_each():
            if self._closing:
                raise UnsegError(f"The {self._name} processes have ended.")
            process = CONTEXT.Process(target=_help, args=(theirs, self._step, self._arena, self._plugins), daemon=True)
            process.start()
            self._helpers[index : index + 1] = [_Helper(process, ours)]
        theirs.close()

    def _killed(self, helper: _Helper) -> UnsegError:
        helper.process.join()
        code = helper.process.exitcode or 0
        means = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with status {code}"
        return UnsegError(
            f"A {self._name} process ended {means}, perhaps for lack of memory; run the same command again to resume, "
            f"with a lower {self._key} if memory is short."
        )


def picklable(step: Step, key: str) -> bytes:
    """Return a step as another process can be sent it.

    Raises:
        UnsegError: it cannot be sent.
    """
    try:
        return pickle.dumps(step)
    except Exception as error:  # whatever the parts of a plug-in raise
        reason = " ".join(str(error).split())[:MOST_CHARACTERS]
        raise UnsegError(
            f"A part of this recipe cannot be sent to another process ({reason}): set {key} 0, or make its refiner a "
            "function of a module, or a functools.partial of one."
        ) from None


def _value(message: bytes) -> Any:
    kind, value = pickle.loads(message)
    if kind == "problem":
        sentence, trace = value
        logger.debug("%s", trace)
        raise UnsegError(sentence)
    return value


def _help(connection: Connection, step: bytes, arena: Arena, plugins: tuple[str, ...]) -> None:
    """Body of a helper."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that it helps ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # the other side has gone
        try:
            do = _prepared(step, plugins)
        except Exception as error:
            connection.send_bytes(_problem(error))
            return
        connection.send_bytes(pickle.dumps(("ready", None)))
        while True:
            connection.send_bytes(_done(do, arena, connection.recv_bytes()))


def _prepared(step: bytes, plugins: tuple[str, ...]) -> Step:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if plugins:
        load_plugins(plugins)
    do: Step = pickle.loads(step)
    return do


def _done(do: Step, arena: Arena, message: bytes) -> bytes:
    """Do a task and return the message with what came of it."""
    try:
        arguments, slot = pickle.loads(message)
        start = time.perf_counter()
        value = do(*(arena.unpack(part) if isinstance(part, Parcel) else part for part in arguments))
        seconds = time.perf_counter() - start
        return pickle.dumps(("done", (value if slot is None else arena.pack(value, slot), seconds)), protocol=5)
    except Exception as error:
        return _problem(error)


def _problem(error: Exception) -> bytes:
    text = " ".join(str(error).split()).rstrip(".") or "no message"
    sentence = str(error) if isinstance(error, UnsegError) else device_failure(error)
    sentence = sentence or (
        f"A process that reads or finishes images failed: {type(error).__name__}: {text[:MOST_CHARACTERS]}. Finished "
        "work is kept; --verbose shows where it happened, please report that."
    )
    return pickle.dumps(("problem", (sentence, traceback.format_exc())))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
