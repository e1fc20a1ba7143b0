"""What becomes of jobs on a cluster, with a stand-in for Ray; test_ray_cluster.py has a real one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from ray_stand_in import NodeDiedError, OutOfMemoryError, RayError, StandIn, WorkerCrashedError
from worker_fakes import fail

from unseg_d2.errors import UnsegError
from unseg_d2.jobs import ray_process, ray_tasks
from unseg_d2.jobs.jobs import Jobs
from unseg_d2.jobs.ray_tasks import run_on_ray
from unseg_d2.jobs.settings import RaySettings


@dataclass(frozen=True)
class Count:
    """A job: numbers from 0 on."""

    name: str
    most: int = 3
    crashes: int = 0
    moves: int = 0
    reported: int = 0


def counting(worker: int) -> Callable[[Count], Iterator[tuple[str, int]]]:
    def do(job: Count) -> Iterator[tuple[str, int]]:
        for number in range(job.reported, job.most):
            yield job.name, number

    return do


class Retries:
    """Tries a job twice."""

    def __call__(self, job: Count, reports: Sequence[Any], error: UnsegError) -> Count:
        if job.crashes:
            raise error
        return replace(job, crashes=job.crashes + 1, reported=job.reported + len(reports))

    def elsewhere(self, job: Count, reports: Sequence[Any]) -> Count:
        return replace(job, moves=job.moves + 1, reported=job.reported + len(reports))


class Finished(Jobs):
    """Notes what is done."""

    def __init__(self, jobs: Sequence[Any]) -> None:
        super().__init__(jobs)
        self.done: list[Any] = []

    def finish(self, job: Any) -> None:
        self.done.append(job)


ALL = [(name, number) for name in "abcdef" for number in range(3)]


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """This process as one of a cluster that has done nothing yet; returns the numbers of threads that are set."""
    threads: list[int] = []
    monkeypatch.setenv(ray_process.CARDS, "0")
    monkeypatch.setattr(ray_process, "_prepared", [])
    monkeypatch.setattr(ray_process, "PATIENCE", 0.0)
    monkeypatch.setattr(ray_tasks, "SETTLE", 0.0)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    return threads


def run(
    cluster: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    jobs: Jobs | None = None,
    prepare: Any = counting,
    device: str = "cpu",
    **settings: Any,
) -> list[Any]:
    monkeypatch.setitem(sys.modules, "ray", cluster)
    jobs = Finished([Count(name) for name in "abcdef"]) if jobs is None else jobs
    return list(run_on_ray(prepare, jobs, RaySettings(**settings), Retries(), device=device))


def test_every_job_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, jobs = StandIn(), Finished([Count(name) for name in "abcdef"])
    assert sorted(run(cluster, monkeypatch, jobs)) == ALL
    assert sorted(job.name for job in jobs.done) == list("abcdef")
    assert cluster.most == 3 and cluster.ended == 1 and not cluster.cancelled  # 2 cores, and one that waits
    assert cluster.options == {
        **{"max_calls": 0, "max_retries": 0, "num_returns": "streaming"},
        **{"num_cpus": 1.0, "num_gpus": 0.0, "scheduling_strategy": "SPREAD"},
    }


def test_nothing_is_joined_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = StandIn()
    assert run(cluster, monkeypatch, Jobs([])) == [] and not cluster.ended


@pytest.mark.parametrize(
    ("settings", "resources", "gpus", "most"),
    [
        ({"device": "auto"}, {"CPU": 8.0}, 0.0, 6),
        ({"device": "auto"}, {"CPU": 8.0, "GPU": 1.0}, 1.0, 2),
        ({"device": "cuda"}, {"CPU": 2.0}, 1.0, 1),  # until a machine with a GPU joins
        ({"device": "cpu"}, {"CPU": 2.0, "GPU": 1.0}, 0.0, 3),
        ({"device": "auto", "gpus": 0.25}, {"CPU": 8.0, "GPU": 1.0}, 0.25, 5),
        ({"device": "auto", "gpus": 0.0}, {"CPU": 2.0, "GPU": 1.0}, 0.0, 3),
        ({"cpus": 4.0}, {"CPU": 8.0}, 0.0, 3),
    ],
)
def test_what_a_task_needs(settings: dict, resources: dict, gpus: float, most: int, monkeypatch) -> None:
    """A task that has no GPU sees none: all those of a machine would compute on its first one."""
    cluster, seen = StandIn(resources=resources), set()

    def looking(worker: int) -> Callable[[Count], Iterator[Any]]:
        seen.add(os.environ[ray_process.CARDS])
        return counting(worker)

    assert sorted(run(cluster, monkeypatch, prepare=looking, **settings)) == ALL
    assert cluster.options["num_gpus"] == gpus and cluster.most == most
    assert seen == {"0" if gpus else ""}


def test_a_device_that_tasks_do_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsegError, match=r"^RAY\.GPUS is 0, but the device of the tasks is cuda: leave RAY\.GPUS out"):
        run(StandIn(resources={"CPU": 2.0, "GPU": 1.0}), monkeypatch, device="cuda", gpus=0.0)


def test_a_cluster_without_gpus_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="unseg_d2")
    run(StandIn(), monkeypatch, device="auto")
    assert [message.partition(" at the moment")[0] for message in caplog.messages] == [
        "No machine of the cluster has a GPU"
    ]


def test_tasks_compute_with_as_many_threads_as_they_have_cores(
    process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment of a machine says: results may depend on it."""
    run(StandIn(), monkeypatch, cpus=2.5)
    run(StandIn(), monkeypatch, cpus=0.5)
    assert set(process[:6]) == {2} and set(process[6:]) == {1} and len(process) == 12


def test_a_process_whose_gpus_are_others_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray gives a process that is kept the GPU of the moment; its network is on the one of before."""
    cluster, begun = StandIn(resources={"CPU": 1.0, "GPU": 2.0}), []

    def prepare(worker: int) -> Callable[[Count], Iterator[Any]]:
        begun.append(os.environ[ray_process.CARDS])

        def do(job: Count) -> Iterator[Any]:
            yield from counting(worker)(job)
            if job.name == "b":
                monkeypatch.setenv(ray_process.CARDS, "1")

        return do

    def end(stream: Any, *, force: bool) -> None:
        assert force
        ray_process._prepared.clear()

    monkeypatch.setattr(cluster, "cancel", end)
    jobs = Finished([Count(name) for name in "abcdef"])
    assert sorted(run(cluster, monkeypatch, jobs, prepare, device="cuda")) == ALL
    assert begun == ["0", "1"] and sorted(job.name for job in jobs.done) == list("abcdef")
    assert len(cluster.submitted) > 6 and not any(job.crashes or job.moves for job in cluster.submitted)


def test_what_the_processes_say_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Warnings of processes on other machines reach who gave the command."""

    def prepare(worker: int) -> Callable[[Count], Iterator[Any]]:
        def do(job: Count) -> Iterator[Any]:
            logging.getLogger("unseg_d2.features").warning("Each process says this.")
            yield from counting(worker)(job)
            logging.getLogger("unseg_d2.features").info("Of no interest.")
            if job.name == "f":
                logging.getLogger("unseg_d2.refine").error("Job %s says this at its end.", job.name)

        return do

    assert sorted(run(StandIn(), monkeypatch, prepare=prepare)) == ALL
    here = [(record.levelname, record.message) for record in caplog.records if record.name == ray_tasks.__name__]
    assert here == [("WARNING", "Each process says this."), ("ERROR", "Job f says this at its end.")]


@pytest.mark.parametrize("error", [WorkerCrashedError(), OutOfMemoryError()])
def test_a_job_whose_process_ended_is_decided_on_by_its_kind(error: RayError, monkeypatch: pytest.MonkeyPatch) -> None:
    once = StandIn(lambda job, count: (3, error) if job.name == "c" and not job.crashes else None)
    assert sorted(run(once, monkeypatch)) == ALL
    assert Count("c", crashes=1, reported=1) in once.submitted
    always = StandIn(lambda job, count: (3, error) if job.name == "c" else None)
    with pytest.raises(UnsegError, match=r"A process of the cluster ended, .*lack of memory; run the same command"):
        run(always, monkeypatch)
    assert always.ended == 1 and always.cancelled


@pytest.mark.parametrize("noticed", [True, False])
def test_a_machine_that_is_gone_is_no_fault_of_the_job(noticed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the cluster says so, or says first that the process is gone."""
    error = NodeDiedError() if noticed else WorkerCrashedError()
    cluster = StandIn(
        lambda job, count: (4, error) if job.name in "bd" and job.moves < 1 else None,
        nodes=[{"NodeID": "a", "Alive": False}, {"NodeID": "b", "Alive": True}],
    )
    assert sorted(run(cluster, monkeypatch)) == ALL
    assert {Count("b", moves=1, reported=2), Count("d", moves=1, reported=2)} <= set(cluster.submitted)


def test_a_process_that_ends_before_it_is_prepared_blames_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    some = StandIn(lambda job, count: (1, WorkerCrashedError()) if job.name == "c" and count < 4 else None)
    assert sorted(run(some, monkeypatch)) == ALL
    with pytest.raises(UnsegError, match=r"^A process of the cluster ended, perhaps for lack of memory"):
        run(StandIn(lambda job, count: (1, WorkerCrashedError())), monkeypatch)


def test_a_job_does_not_lose_machines_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = StandIn(lambda job, count: (1, NodeDiedError()) if job.name == "c" else None)
    with pytest.raises(UnsegError, match=r"^3 machines of the cluster were gone while doing one job.*MAX_RETRIES"):
        run(cluster, monkeypatch, max_retries=2)
    assert [job.moves for job in cluster.submitted if job.name == "c"] == [0, 1, 2]


def test_problems_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for job, message in [("problem", r"^The disk is full\.$"), ("crash", "^A worker process failed: KeyError: 'a mis")]:
        with pytest.raises(UnsegError, match=message):
            run(StandIn(), monkeypatch, Jobs([job]), fail)
    with pytest.raises(UnsegError, match=r"^The Ray cluster failed \(RayError: out of order\)"):
        run(StandIn(lambda job, count: (0, RayError("out of order"))), monkeypatch)
    with pytest.raises(UnsegError, match=r"^There is no Ray cluster at RAY.ADDRESS nowhere:1 \(ConnectionError: "):
        run(StandIn(), monkeypatch, address="nowhere:1")
    with pytest.raises(UnsegError, match=r"^No Ray cluster could be begun here \(Exception: The node timed out\)"):
        run(StandIn(), monkeypatch, address="local")


def test_a_process_keeps_what_it_has_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def prepare(worker: int) -> Callable[[Count], Iterator[Any]]:
        begun.append(worker)
        return counting(worker)

    run(StandIn(), monkeypatch, prepare=prepare)
    assert begun == [0]
    run(StandIn(), monkeypatch, prepare=prepare)
    assert begun == [0, 0], "another run has settings of its own"


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnsegError, match=r"'ray' is not installed; install it with: pip install 'unseg-d2\[ray\]'"):
        list(run_on_ray(counting, Jobs([1]), RaySettings(), Retries(), device="cpu"))


def test_gpus_are_a_number() -> None:
    with pytest.raises(ValueError, match="gpus must be 0 or more, or -1"):
        RaySettings(gpus=-0.5)
