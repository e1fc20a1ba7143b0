"""Runs the steps of making lines of a label set one after another for a batch, and at once for several batches.

Reading and finishing may be done by processes of their own, so that a device does not wait for decoding and for
filters. Batches are the same in any case and come in their order, so the lines do not depend on these processes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from unseg_d2.data.at_work import GPUMemoryFull, ProgramError, at_work
from unseg_d2.data.images import ImageProblem, Reading
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.killed import MOST_KILLERS, REASON, how
from unseg_d2.pseudo.looks import Look
from unseg_d2.pseudo.parcels import Arena, Parcel
from unseg_d2.pseudo.pool_sizes import PoolSizes
from unseg_d2.pseudo.renew import Sources
from unseg_d2.pseudo.stage_times import HELPERS, WAITS, Clock
from unseg_d2.pseudo.step_processes import Answer, KilledTwice, StepProcesses
from unseg_d2.pseudo.steps import Finisher, Line, Read, Reader, Staged

PER_PROCESS = 2
"""Images that are under way for each process, so that none waits for the next."""

logger = logging.getLogger(__name__)


@dataclass
class _Image:
    """An image under way."""

    asked: tuple[Any, str]
    slot: int | None
    reading: _Pending
    read: Read | None = None
    parcel: Parcel | None = None
    finishing: _Pending | None = None
    line: Line = field(default_factory=dict)


class Stages:
    """Makes lines of images, and owns the processes that help.

    Args:
        pipeline: in three steps.
        sources: the files of the images.
        reading: how files become RGB; what cannot be read is recorded as a failure.
        batch_size: images per batch, at most.
        sizes: how many processes help; see `PoolSizes`.
        plugins: modules that these import first.

    Raises:
        UnsegError: a step cannot be sent to another process.
    """

    def __init__(
        self,
        pipeline: Staged,
        sources: Sources,
        reading: Reading,
        *,
        batch_size: int,
        sizes: PoolSizes,
        plugins: Sequence[str],
    ) -> None:
        self.clock, self.sizes = Clock(), sizes
        self._pipeline, self._sources, self._killers = pipeline, sources, 0
        self._said_full = False
        ahead, behind = (-(-PER_PROCESS * number // batch_size) for number in (sizes.readers, sizes.finishers))
        self._most_ahead = 1 + ahead  # one that is taken next, and those that are read meanwhile
        self._most_behind = behind
        looking = pipeline.looking
        slots = (self._most_ahead + 1 + self._most_behind) * batch_size if sizes.readers else 0
        self._arena, self._slots = Arena(slots, looking.usual_bytes), list(range(slots))
        self._pools: dict[str, StepProcesses] = {}
        in_files = sources.depth if sources.depth is not None and sources.depth.reads_files else None
        self._steps: Mapping[str, Callable[..., Any]] = {
            "readers": Reader(Sources(sources.root, in_files), reading, looking),
            "finishers": Finisher(pipeline.finishing),
        }
        try:
            for name, number in sizes.by_name().items():
                if number:
                    key = f"PSEUDO.{name.upper()}"
                    self._pools[name] = StepProcesses(
                        *(self._steps[name], number), name=name[:-1], key=key, arena=self._arena, plugins=plugins
                    )
        except BaseException:
            self.close()
            raise

    def lines(self, batches: Iterable[Sequence[tuple[Any, str]]]) -> Iterator[list[Line]]:
        """Yield the lines of batches of images, ``(id, file_name)`` each, in their order.

        An image that cannot be used gives its reason instead of masks.

        Raises:
            UnsegError: the device, the memory or the program fails, or too many processes are killed.
        """
        waiting = iter(batches)
        ahead: deque[list[_Image]] = deque()
        behind: deque[list[_Image]] = deque()
        while True:
            while len(ahead) < self._most_ahead and (batch := next(waiting, None)) is not None:
                ahead.append([self._read(image) for image in batch])
            if not ahead:
                break
            behind.append(self._propose(ahead.popleft()))
            while behind and (len(behind) > self._most_behind or _is_done(behind[0])):
                yield self._finished(behind.popleft())
        while behind:
            yield self._finished(behind.popleft())

    def seconds(self) -> dict[str, float]:
        """Return where the time went since the last call; see `unseg_d2.pseudo.stage_times`."""
        return self.clock.take(self.sizes.by_name())

    def close(self) -> None:
        """End the processes that help."""
        for pool in self._pools.values():
            pool.close()

    def _read(self, image: tuple[Any, str]) -> _Image:
        slot = self._slots.pop() if self._slots else None
        return _Image(image, slot, self._begin("readers", image, slot=slot))

    def _propose(self, batch: list[_Image]) -> list[_Image]:
        """Wait until a batch is read, find proposals, and have them finished."""
        for image in batch:
            value = self._result(image, image.reading)
            if isinstance(value, Parcel):
                image.parcel, value = value, self._arena.unpack(value)
            if value is not None:
                image.read = value
                image.line = image.read[0]
        usable = [image for image in batch if image.read is not None and image.read[1] is not None]
        looks = [image.read[1] for image in usable if image.read is not None and image.read[1] is not None]
        for image, found in zip(usable, self._found(looks)):
            if isinstance(found, str):
                image.line["failure"] = found
            else:
                elsewhere = image.parcel if "finishers" in self._pools else None
                image.finishing = self._begin("finishers", elsewhere or image.read, found)
        return batch

    def _found(self, looks: list[Look]) -> list[Any]:
        """Run the second step; where it fails, image by image, so that one image does not fail the others.

        Returns:
            What it returns, or the reason why an image cannot be used.

        Raises:
            UnsegError: it is no fault of an image, see :mod:`unseg_d2.data.at_work`.
        """
        if not looks:
            return []
        failure: ProgramError | None = None
        too_many = False
        try:
            with at_work(*(look.file.file_name for look in looks)):
                return list(self._pipeline.propose(looks, self.clock))
        except ImageProblem as problem:
            if len(looks) == 1:
                return [str(problem)]
        except GPUMemoryFull:
            if len(looks) == 1:
                raise
            too_many = True
        except ProgramError as error:
            if len(looks) == 1:
                raise
            failure = error
        if too_many:
            return self._found_in_halves(looks)
        alone = [found for look in looks for found in self._found([look])]
        if failure:  # no image by itself is to blame
            raise failure
        return alone

    def _found_in_halves(self, looks: list[Look]) -> list[Any]:
        """Run the second step on half as many images at once, and say so once."""
        if not self._said_full:
            logger.warning(
                "The GPU's memory is full with %d images at once; they are tried in halves, which is slower: lower "
                "FEATURES.BATCH_SIZE in the next label set.",
                len(looks),
            )
            self._said_full = True
        torch.cuda.empty_cache()
        middle = len(looks) // 2
        return self._found(looks[:middle]) + self._found(looks[middle:])

    def _finished(self, batch: list[_Image]) -> list[Line]:
        """Wait until a batch is finished, and return its lines."""
        for image in batch:
            if image.finishing is not None:
                image.line = self._result(image, image.finishing) or image.line
            image.read = image.parcel = None
            if image.slot is not None:
                self._slots.append(image.slot)
        return [image.line for image in batch]

    def _begin(self, name: str, *arguments: Any, slot: int | None = None) -> _Pending:
        pool = self._pools.get(name)
        if pool is None:
            return _Here(self._steps[name], arguments, self.clock, name)
        return _Elsewhere(pool.submit(*arguments, slot=slot), self.clock, name)

    def _result(self, image: _Image, pending: _Pending) -> Any:
        """Return what a step returned; ``None`` where the image has killed two processes, which its line says then."""
        try:
            return pending.result()
        except KilledTwice as killed:
            self._killers += 1
            if self._killers > MOST_KILLERS:
                raise UnsegError(str(killed)) from None
            key, name = image.asked
            logger.warning("%s It worked on %s alone, which is recorded as a failure.", how(killed), name)
            image.line = {"id": key, "file_name": name, **self._sources.recorded(name), "failure": REASON}
            return None


class _Pending(Protocol):
    """A step that will have been done."""

    def done(self) -> bool:
        """Whether its result need not be waited for."""
        ...

    def result(self) -> Any:
        """Return it."""
        ...


@dataclass(frozen=True)
class _Here:
    """A step that is done when its result is asked for."""

    step: Callable[..., Any]
    arguments: tuple[Any, ...]
    clock: Clock
    name: str

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        with self.clock.measure(HELPERS[self.name]):
            return self.step(*self.arguments)


@dataclass(frozen=True)
class _Elsewhere:
    """A step that another process does."""

    future: Future[Answer]
    clock: Clock
    name: str

    def done(self) -> bool:
        return self.future.done()

    def result(self) -> Any:
        with self.clock.measure(WAITS[self.name]):
            answer = self.future.result()
        self.clock.seconds[HELPERS[self.name]] += answer.seconds
        return answer.value


def _is_done(batch: list[_Image]) -> bool:
    return all(image.finishing is None or image.finishing.done() for image in batch)
