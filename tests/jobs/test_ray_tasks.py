"""What becomes of jobs on a cluster: with a stand-in for Ray, and, slowly, with a cluster of three machines."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pseudo_fakes import fake_pipeline, killed_by_white_pipeline, save_pictures, slow_pipeline
from ray_stand_in import NodeDiedError, OutOfMemoryError, RayError, StandIn, WorkerCrashedError
from worker_fakes import echo, fail

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.jobs import ray_tasks
from unseg_d2.jobs.jobs import Jobs
from unseg_d2.jobs.ray_tasks import run_on_ray
from unseg_d2.jobs.settings import RaySettings
from unseg_d2.pseudo.claims import ClaimedShards
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.make_shard import ShardJob


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


def run(
    cluster: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    jobs: Jobs | None = None,
    prepare: Any = counting,
    **settings: Any,
) -> list[Any]:
    monkeypatch.setattr(ray_tasks, "_ray", lambda: cluster)
    monkeypatch.setattr(ray_tasks, "SETTLE", 0.0)
    use_gpu = settings.pop("use_gpu", False)
    jobs = Finished([Count(name) for name in "abcdef"]) if jobs is None else jobs
    return list(run_on_ray(prepare, jobs, RaySettings(**settings), Retries(), use_gpu=use_gpu))


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
        ({"use_gpu": True}, {"CPU": 8.0}, 0.0, 6),
        ({"use_gpu": True}, {"CPU": 8.0, "GPU": 1.0}, 1.0, 2),
        ({"use_gpu": False}, {"CPU": 2.0, "GPU": 1.0}, 0.0, 3),
        ({"use_gpu": True, "gpus": 0.25}, {"CPU": 8.0, "GPU": 1.0}, 0.25, 5),
        ({"cpus": 4.0}, {"CPU": 8.0}, 0.0, 3),
    ],
)
def test_what_a_task_needs(settings: dict, resources: dict, gpus: float, most: int, monkeypatch) -> None:
    cluster = StandIn(resources=resources)
    assert sorted(run(cluster, monkeypatch, **settings)) == ALL
    assert cluster.options["num_gpus"] == gpus and cluster.most == most


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
    with pytest.raises(UnsegError, match=r"^3 machines of the cluster were gone while they did one job.*MAX_RETRIES"):
        run(cluster, monkeypatch, max_retries=2)
    assert [job.moves for job in cluster.submitted if job.name == "c"] == [0, 1, 2]


def test_problems_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for job, message in [("problem", r"^The disk is full\.$"), ("crash", "^A worker process failed: KeyError: 'a mis")]:
        with pytest.raises(UnsegError, match=message):
            run(StandIn(), monkeypatch, Jobs([job]), fail)
    with pytest.raises(UnsegError, match=r"^The Ray cluster failed \(RayError: out of order\)"):
        run(StandIn(lambda job, count: (0, RayError("out of order"))), monkeypatch)
    with pytest.raises(UnsegError, match=r"^There is no Ray cluster at RAY.ADDRESS nowhere:1 \(cannot"):
        run(StandIn(), monkeypatch, address="nowhere:1")


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
        list(run_on_ray(counting, Jobs([1]), RaySettings(), Retries(), use_gpu=False))


def test_gpus_are_a_number() -> None:
    with pytest.raises(ValueError, match="gpus must be 0 or more, or -1"):
        RaySettings(gpus=-0.5)


needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.mark.slow
@needs_ray
def test_on_a_cluster_processes_are_kept(ray_cluster: Any, new_machine: Callable[[], Any]) -> None:
    """Two machines of one core each."""
    for _ in range(2):
        new_machine()
    settings = RaySettings(address=ray_cluster.address)
    reports = list(run_on_ray(echo, Jobs(range(12)), settings, Retries(), use_gpu=False))
    assert sorted(job for job, *_ in reports) == list(range(12))
    pids = {pid for _, pid, _ in reports}
    assert 1 <= len(pids) <= 4 and os.getpid() not in pids
    assert {threads for *_, threads in reports} == {"1"}
    with pytest.raises(UnsegError, match=r"^The disk is full\.$"):
        list(run_on_ray(fail, Jobs(["problem"]), settings, Retries(), use_gpu=False))


@pytest.mark.slow
@needs_ray
def test_an_image_that_kills_its_process_does_not_loop_on_a_cluster(
    ray_cluster: Any, new_machine: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_tasks, "SETTLE", 2.0)
    new_machine()
    images = save_pictures(tmp_path / "images", 6)
    with Image.open(images / "001.png") as image:
        image.putpixel((0, 0), (255, 255, 255))
        image.save(images / "001.png")
    cfg = load_cfg(None, ["FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "64", "RAY.ADDRESS", ray_cluster.address])
    generate_label_set(cfg, images, tmp_path / "out", run_on="ray", build=killed_by_white_pipeline)
    (failure,) = map(json.loads, (tmp_path / "out" / "failures.jsonl").read_text().splitlines())
    assert failure["file_name"] == "001.png" and "killed twice" in failure["reason"]


@pytest.mark.slow
@needs_ray
def test_a_label_set_though_machines_come_and_go(
    ray_cluster: Any, new_machine: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is taken away without a word when it works, another one is added: the same bytes as without Ray."""
    images = save_pictures(tmp_path / "images", 96)
    options = ["FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "64"]
    generate_label_set(load_cfg(None, options), images, tmp_path / "whole", num_workers=0, build=fake_pipeline)
    machines, finished = [new_machine() for _ in range(2)], []
    finish = ClaimedShards.finish

    def finish_and_change(jobs: ClaimedShards, job: ShardJob) -> None:
        finish(jobs, job)
        finished.append(job.shard)
        if len(finished) == 4:
            ray_cluster.remove_node(machines[0], allow_graceful=False)
            new_machine()

    monkeypatch.setattr(ClaimedShards, "finish", finish_and_change)
    cfg = load_cfg(None, [*options, "RAY.ADDRESS", ray_cluster.address])
    generate_label_set(cfg, images, tmp_path / "out", run_on="ray", build=slow_pipeline)
    assert sorted(finished) == list(range(16))
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "timings.jsonl"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
