from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from worker_fakes import echo, endless, fail, unable

from unseg_d2.errors import UnsegError
from unseg_d2.jobs.workers import run_jobs


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < end, "the worker is still there"
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_job_is_done_once(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    reports = list(run_jobs(echo, list(range(10)), workers))
    assert sorted(job for job, *_ in reports) == list(range(10))
    assert (os.getpid() in {pid for _, pid, _ in reports}) == (workers == 0)
    assert {threads for *_, threads in reports} == ({"1"} if workers else {"7"})
    assert os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    ("job", "error", "message"),
    [
        ("problem", UnsegError, "^The disk is full.$"),
        ("crash", UnsegError, "^A worker process failed: KeyError: 'a mistake in the code'. Finished work is kept"),
        ("kill", UnsegError, "by signal 9 .*run the same command again"),
    ],
)
def test_failures_reach_the_parent(job: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        list(run_jobs(fail, [job], 1))


@pytest.mark.parametrize(
    ("job", "message"), [("no such part", "^A worker .*KeyError: 'no such part'"), ("memory", "^The memory")]
)
def test_a_worker_that_cannot_begin_is_one_line(job: str, message: str) -> None:
    with pytest.raises(UnsegError, match=message) as caught:
        list(run_jobs(partial(unable, job), [job], 1))
    assert "\n" not in str(caught.value)


def test_workers_end_when_nobody_reads_their_reports() -> None:
    reports = run_jobs(endless, [0], 1)
    pid = next(reports)
    assert is_running(pid)
    reports.close()
    assert not is_running(pid)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
from worker_fakes import endless
from unseg_d2.jobs.workers import run_jobs
if __name__ == "__main__":
    for pid in run_jobs(endless, [0], 1):
        print(pid, flush=True)
"""
    (tmp_path / "command.py").write_text(code)
    process = subprocess.Popen([sys.executable, str(tmp_path / "command.py")], stdout=subprocess.PIPE)
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until_gone(pid)
