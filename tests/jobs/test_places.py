from __future__ import annotations

import logging
from typing import Any

import pytest
from worker_fakes import echo

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.jobs import places
from unseg_d2.jobs.jobs import Jobs, is_something_to_do
from unseg_d2.jobs.places import check_place, run_jobs_at
from unseg_d2.jobs.settings import RaySettings


def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets what it needs."""
    asked: list[Any] = []
    monkeypatch.setattr(places, "run_on_ray", lambda *given, device: asked.append((given, device)) or iter("abc"))
    cfg, jobs = load_cfg(None, ["RAY.GPUS", "0.5"]), Jobs([1, 2])
    options: dict[str, Any] = {"num_workers": 0, "retry": None}
    assert list(run_jobs_at("ray", cfg, echo, jobs, device="cuda", **options)) == ["a", "b", "c"]
    assert list(run_jobs_at("ray", cfg, echo, jobs, device="cpu", **options)) == ["a", "b", "c"]
    assert asked == [
        ((echo, jobs, RaySettings(gpus=0.5), None), "cuda"),
        ((echo, jobs, RaySettings(gpus=0.5), None), "cpu"),
    ]
    assert [job for job, *_ in run_jobs_at("local", cfg, echo, jobs, device="cpu", **options)] == [1, 2]


def test_what_is_not_used_is_said_and_what_is_unknown_refused(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="unseg_d2")
    places._say_once.cache_clear()
    for _ in range(2):
        check_place("local", load_cfg(None, ["RAY.GPUS", "0.5"]))
    check_place("ray", load_cfg(None, ["RAY.GPUS", "0.5"]))
    assert caplog.messages == ["The settings in RAY have no effect: there is no --engine ray."]
    with pytest.raises(UnsegError, match=r"one of local, ray, not in 'spark'"):
        check_place("spark", load_cfg())


def test_jobs_are_handed_out_in_order_and_again() -> None:
    jobs = Jobs("abc")
    assert is_something_to_do(jobs) and len(jobs) == 3
    assert jobs.take() == "a"
    jobs.put_back("A")
    assert [jobs.take() for _ in range(4)] == ["A", "b", "c", None]
    assert not is_something_to_do(jobs)
