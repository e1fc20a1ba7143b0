"""As much of Ray's interface as is used, in one process: tasks run when they are asked for their next report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """Base of the errors of a cluster."""


class WorkerCrashedError(RayError):
    """The process of a task ended."""


class OutOfMemoryError(RayError):
    """The process of a task was ended for lack of memory."""


class NodeDiedError(RayError):
    """The machine of a task is gone."""


class Stream:
    """What a task yields; ends with an error where its fate is one."""

    def __init__(self, items: Iterator[Any], fate: tuple[int, Exception] | None) -> None:
        self.items, self.fate, self.given = items, fate, 0

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        if self.fate and self.given == self.fate[0]:
            self.given += 1
            return self.fate[1]
        if self.fate and self.given > self.fate[0]:
            raise StopIteration
        self.given += 1
        return next(self.items)


class StandIn:
    """A cluster of some machines.

    Args:
        fate: called with the job and how often it was submitted; returns after how many items the task ends and with
            which error, or ``None``.
        resources: of the cluster.
        nodes: machines, as ``ray.nodes`` returns them.
    """

    exceptions = SimpleNamespace(
        RayError=RayError,
        WorkerCrashedError=WorkerCrashedError,
        OutOfMemoryError=OutOfMemoryError,
        NodeDiedError=NodeDiedError,
    )

    def __init__(
        self,
        fate: Callable[[Any, int], tuple[int, Exception] | None] = lambda job, count: None,
        resources: dict[str, float] | None = None,
        nodes: list[dict[str, Any]] | None = None,
    ) -> None:
        self.fate, self.resources, self.machines = fate, resources or {"CPU": 2.0}, nodes or []
        self.submitted: list[Any] = []
        self.options: dict[str, Any] = {}
        self.cancelled = self.ended = self.most = 0
        self.running: list[Stream] = []

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        if options["address"] == "nowhere:1":
            raise ConnectionError("cannot connect")
        if options["address"] == "local":
            raise Exception("The node timed out")

    def shutdown(self) -> None:
        self.ended += 1

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def nodes(self) -> list[dict[str, Any]]:
        return self.machines

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "a")

    def put(self, value: Any) -> Any:
        return value

    def get(self, value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    def wait(self, streams: list[Stream], **_: Any) -> tuple[list[Stream], list[Stream]]:
        self.most = max(self.most, len(streams))
        return streams, []

    def cancel(self, stream: Stream, *, force: bool) -> None:
        self.cancelled += 1

    def remote(self, **decorated: Any) -> Callable[[Any], Any]:
        self.options.update(decorated)

        def wrap(function: Callable[..., Iterator[Any]]) -> Any:
            def submit(key: str, prepare: Any, job: Any, *rest: Any) -> Stream:
                self.submitted.append(job)
                return Stream(function(key, prepare, job, *rest), self.fate(job, self.submitted.count(job)))

            def options(**more: Any) -> Any:
                self.options.update(more)
                return SimpleNamespace(remote=submit)

            return SimpleNamespace(options=options)

        return wrap
