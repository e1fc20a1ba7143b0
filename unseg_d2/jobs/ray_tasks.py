"""Jobs as tasks of a Ray cluster, one each, on machines that come and go (Moritz et al., OSDI 2018).

A process keeps what it has prepared, such as a network, for its next tasks; `max_calls=0` stands in the decorator,
since Ray would end each process with a GPU after one task. Ray itself repeats nothing: whether and how a job is tried
again is decided here, as for processes of this machine. Tasks run in the folder of the command.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from unseg_d2.data.at_work import MOST_CHARACTERS
from unseg_d2.errors import UnsegError
from unseg_d2.jobs.jobs import POLL, Job, Jobs, Prepare, Report, Retry, is_something_to_do
from unseg_d2.jobs.ray_process import CARDS, NODE, OTHER_CARDS, READY, REPORT, SAID, Surroundings, ray_module, work
from unseg_d2.jobs.settings import RaySettings

VARIABLES = ("DETECTRON2_DATASETS", "UNSEG_D2_ZOO", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME")
"""Variables of the environment that say where things are, and hold in the tasks too."""
MOST_FAILED_STARTS = 3
"""Processes that may end before they are prepared, in one run."""
SETTLE = 20.0
"""Seconds after which a cluster has noticed that a machine is gone."""

logger = logging.getLogger(__name__)


def run_on_ray(prepare: Prepare, jobs: Jobs, settings: RaySettings, retry: Retry, *, device: str) -> Iterator[Report]:
    """Do jobs as tasks of a cluster and yield their reports as they come; see `unseg_d2.jobs.workers.run_jobs`.

    Args:
        prepare: see `Prepare`; called once in each process of the cluster that takes a task, always with 0.
        jobs: handed out in their order, to all machines that are there by then.
        settings: the cluster, and what a task needs.
        retry: what becomes of a job whose process or machine is gone.
        device: that the tasks compute on, as a recipe names it.

    Raises:
        UnsegError: Ray is not installed, there is no cluster, a task raised one or anything else, its process ended
            and is not replaced, or the device is a GPU and the settings give tasks none.
    """
    ray = ray_module()
    if not is_something_to_do(jobs):
        return
    _allow_many_files()
    with _connected(ray, settings.address):
        yield from _Run(ray, prepare, jobs, settings, retry, device).reports()


@dataclass(eq=False)
class _Task:
    job: Job
    stream: Any
    losses: int
    node: str = ""
    is_ready: bool = False
    reports: list[Report] = field(default_factory=list)


class _Run:
    """The tasks that are under way, and what becomes of them."""

    def __init__(
        self, ray: Any, prepare: Prepare, jobs: Jobs, settings: RaySettings, retry: Retry, device: str
    ) -> None:
        self.ray, self.jobs, self.settings, self.retry = ray, jobs, settings, retry
        self.gpus = _gpus(settings, device, ray.cluster_resources().get("GPU", 0.0))
        remote = ray.remote(max_calls=0, max_retries=0, num_returns="streaming")(work)
        options = {"num_cpus": settings.cpus, "num_gpus": self.gpus, "scheduling_strategy": "SPREAD"}
        self.remote = remote.options(**options)
        self.prepare, self.key = ray.put(prepare), uuid.uuid4().hex
        variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        if not self.gpus:  # otherwise all tasks of a machine with GPUs would compute on the first one
            variables[CARDS] = ""
        self.around = Surroundings(os.getcwd(), variables, max(1, int(settings.cpus)))
        self.tasks: dict[Any, _Task] = {}
        self.again: list[tuple[Job, int]] = []
        self.said: set[str] = set()
        """By the processes of the cluster; each would say the same."""
        self.alive: dict[str, float] = {}
        """Until when a machine is taken to be there after a process of it has ended."""
        self.failed_starts = 0
        self.limit, self.counted, self.waits = 1, 0.0, False

    def reports(self) -> Iterator[Report]:
        """Yield what the tasks report until all jobs are done."""
        try:
            while True:
                self._submit()
                if not self.tasks and not len(self.jobs):
                    return
                if not self.tasks:
                    time.sleep(POLL)
                for stream in self._ready():
                    yield from self._read(self.tasks[stream])
        finally:
            for stream in self.tasks:
                self._cancel(stream)

    def _submit(self) -> None:
        """Begin as many tasks as the machines of the moment can do, and some that wait for them."""
        if time.monotonic() - self.counted > POLL:
            self.limit, self.counted = self._slots(), time.monotonic()
        while len(self.tasks) < self.limit:
            job, losses = self.again.pop() if self.again else (self.jobs.take(), 0)
            if job is None:
                return
            stream = self.remote.remote(self.key, self.prepare, job, self.around)
            self.tasks[stream] = _Task(job, stream, losses)

    def _slots(self) -> int:
        there = self.ray.cluster_resources()
        slots = int(there.get("CPU", 0) / self.settings.cpus)
        if self.gpus:
            slots = min(slots, int(there.get("GPU", 0) / self.gpus + 1e-6))
        if not slots and not self.waits:
            self.waits = True
            logger.warning(
                "No machine of the cluster has %g cores and %g GPUs (RAY.CPUS, RAY.GPUS); waiting for one that has.",
                *(self.settings.cpus, self.gpus),
            )
        return max(slots, 1) + math.ceil(slots / 4)

    def _ready(self) -> list[Any]:
        streams = list(self.tasks)
        ready, _ = self.ray.wait(streams, num_returns=1, timeout=POLL, fetch_local=False) if streams else ([], [])
        if ready:  # the others that are ready too, so that none is left waiting
            ready, _ = self.ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
        return list(ready)

    def _read(self, task: _Task) -> Iterator[Report]:
        """Take the next that a task says."""
        try:
            kind, value = self.ray.get(next(task.stream))
        except StopIteration:
            del self.tasks[task.stream]
            self.jobs.finish(task.job)
            return
        except self.ray.exceptions.RayError as error:
            del self.tasks[task.stream]
            self._try_again(task, error)
            return
        if kind == REPORT:
            task.reports.append(value)
            yield value
        else:
            self._note(task, kind, value)

    def _note(self, task: _Task, kind: str, value: Any) -> None:
        """Take what is no report."""
        if kind == NODE:
            task.node = value
        elif kind == READY:
            task.is_ready = True
        elif kind == SAID:
            level, message = value
            if message not in self.said:
                self.said.add(message)
                logger.log(level, "%s", message)
        elif kind == OTHER_CARDS:
            del self.tasks[task.stream]
            self._cancel(task.stream)
            self.again.append((task.job, task.losses))
        else:
            sentence, trace = value
            logger.debug("%s", trace)
            raise UnsegError(sentence)

    def _cancel(self, stream: Any) -> None:
        """End a task with its process."""
        with suppress(Exception):  # the cluster may be gone
            self.ray.cancel(stream, force=True)

    def _try_again(self, task: _Task, error: Exception) -> None:
        """Submit the job of a process or a machine that is gone once more."""
        known = self.ray.exceptions
        crashed = isinstance(error, known.WorkerCrashedError)
        if isinstance(error, known.NodeDiedError) or (crashed and self._is_gone(task.node)):
            if task.losses >= self.settings.max_retries:
                raise _lost(task.losses + 1)
            logger.warning("A machine of the cluster is gone; what it worked on is done elsewhere.")
            self.again.append((self.retry.elsewhere(task.job, task.reports), task.losses + 1))
        elif (crashed or isinstance(error, known.OutOfMemoryError)) and not task.is_ready:
            self.failed_starts += 1
            if self.failed_starts > MOST_FAILED_STARTS:
                raise _ended(error, known)  # no job is to blame
            self.again.append((task.job, task.losses))
        elif crashed or isinstance(error, known.OutOfMemoryError):
            self.again.append((self.retry(task.job, task.reports, _ended(error, known)), task.losses))
        else:
            cause = getattr(error, "cause", None) or error
            raise UnsegError(
                f"The Ray cluster failed ({_in_a_line(cause)}); finished work is kept: see that all machines have the "
                "same versions of everything, and run the same command again."
            )

    def _is_gone(self, name: str) -> bool:
        """Whether a machine is gone; a cluster needs a while to notice."""
        now = time.monotonic()
        end = now if now < self.alive.get(name, 0.0) else now + SETTLE
        while name:
            if any(node["NodeID"] == name and not node["Alive"] for node in self.ray.nodes()):
                return True
            if time.monotonic() > end:
                break
            time.sleep(min(POLL, SETTLE))
        self.alive[name] = time.monotonic() + SETTLE
        return False


def _gpus(settings: RaySettings, device: str, there: float) -> float:
    """Return the GPUs of a task.

    Args:
        settings: say how many, or leave it to the cluster.
        device: that a task computes on, as a recipe names it.
        there: GPUs of the cluster at the moment.

    Raises:
        UnsegError: the device is a GPU, and the settings give a task none.
    """
    needs = device.startswith("cuda")
    if needs and not settings.gpus:
        raise UnsegError(f"RAY.GPUS is 0, but the device of the tasks is {device}: leave RAY.GPUS out, or use the cpu.")
    if settings.gpus >= 0:
        return settings.gpus
    if device == "auto" and not there:
        logger.info(
            "No machine of the cluster has a GPU at the moment, so that all tasks compute on CPUs, also those on "
            "machines that join later; RAY.GPUS 1 waits for GPUs."
        )
    return 1.0 if needs or (device == "auto" and there) else 0.0


def _lost(number: int) -> UnsegError:
    who = "A machine of the cluster was" if number == 1 else f"{number} machines of the cluster were"
    return UnsegError(
        f"{who} gone while doing one job; finished work is kept: run the same command again when the cluster is "
        "stable, or raise RAY.MAX_RETRIES."
    )


def _ended(error: Exception, known: Any) -> UnsegError:
    reason = "for lack of memory" if isinstance(error, known.OutOfMemoryError) else "perhaps for lack of memory"
    return UnsegError(
        f"A process of the cluster ended, {reason}; run the same command again to resume, with more RAY.CPUS for each "
        "task if memory is short."
    )


def _in_a_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:MOST_CHARACTERS]}"


def _allow_many_files() -> None:
    """Let this process have as many files open as it may: each task has the lock of a shard."""
    with suppress(ImportError, OSError, ValueError):  # Windows, or a system that says otherwise
        resource = importlib.import_module("resource")
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Join a cluster, or begin one, unless this process has joined one already; its processes end with the block."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that begins here
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # Ray raises bare ones too
        with suppress(Exception):
            ray.shutdown()
        raise _not_connected(address, error) from None
    try:
        yield
    finally:
        ray.shutdown()


def _not_connected(address: str, error: Exception) -> UnsegError:
    if address == "local":
        return UnsegError(
            f"No Ray cluster could be begun here ({_in_a_line(error)}). Run the same command again when the machine is "
            "less busy, or start one with `ray start --head` and leave RAY.ADDRESS out."
        )
    return UnsegError(
        f"There is no Ray cluster at RAY.ADDRESS {address} ({_in_a_line(error)}). Start one with `ray start --head`, "
        "name it with RAY.ADDRESS HOST:PORT, or begin one here with RAY.ADDRESS local."
    )
