"""Lock files, on file systems that have locks and on those that have none, and platforms without Unix's modules."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unseg_d2 import locks
from unseg_d2.errors import UnsegError
from unseg_d2.locks import claimed, locked

HOLDER = """
import fcntl, sys, time
from pathlib import Path
if sys.argv[2]:
    def flock(*_):
        raise OSError(int(sys.argv[2]), "flock does not work here")
    fcntl.flock = flock
from unseg_d2 import locks
from unseg_d2.locks import locked
locks.BEAT = 0.1
folder = Path(sys.argv[1])
with locked(folder / ".lock", until=folder / "done", busy="is busy", seconds=60):
    print("ready", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def holder(folder: Path, error: str, seconds: float) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, folder, error, str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


def no_flock(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(int(number), "flock does not work here")

    if number:
        monkeypatch.setattr("fcntl.flock", flock)


@pytest.mark.parametrize("error", ["", "38", "95", "37"], ids=["flock", "ENOSYS", "EOPNOTSUPP", "ENOLCK"])
def test_one_process_at_a_time_and_a_killed_one_holds_nothing(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_flock(error, monkeypatch)
    monkeypatch.setattr(locks, "LEASE", 1.5)
    process = holder(tmp_path, error, 600)
    try:
        busy = pytest.raises(UnsegError, match=r"Another process is busy; wait for it or end it.*delete .*\.lock")
        with busy, locked(tmp_path / ".lock", until=tmp_path / "done", busy="is busy", seconds=0.1):
            pass
    finally:
        process.kill()
        process.wait()
    with locked(tmp_path / ".lock", until=tmp_path / "done", busy="is busy", seconds=20 if error else 0):
        (tmp_path / "done").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_a_lock_without_flock_lasts_while_its_owner_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine: what counts is that its file is touched."""
    no_flock("38", monkeypatch)
    monkeypatch.setattr(locks, "LEASE", 1.0)
    monkeypatch.setattr(locks, "BEAT", 0.05)
    path = tmp_path / "shards" / ".lock"
    ours = claimed(path)
    assert ours is not None
    time.sleep(1.5)
    assert claimed(path) is None
    ours.release()
    theirs = claimed(path)
    assert theirs is not None and claimed(path) is None
    theirs.release()
    assert list(path.parent.iterdir()) == []


def test_the_lock_of_a_dead_machine_has_one_heir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_flock("38", monkeypatch)
    owner = tmp_path / ".lock.owner"
    owner.write_text("somebody")
    hour_ago = time.time() - 3600
    os.utime(owner, (hour_ago, hour_ago))
    heirs = [claim for _ in range(3) if (claim := claimed(tmp_path / ".lock"))]
    assert len(heirs) == 1
    owner.write_text("somebody else")  # it was stopped for long, and another process took over
    heirs[0].release()
    assert owner.read_text() == "somebody else"


def test_other_errors_of_locks_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_flock("13", monkeypatch)
    with pytest.raises(UnsegError, match="cannot be written: Permission denied"):
        claimed(tmp_path / ".lock")


def test_a_second_process_waits_for_the_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="unseg_d2")
    process = holder(tmp_path, "", 1.0)
    with locked(tmp_path / ".lock", until=tmp_path / "done", busy="is busy"):
        assert process.wait(10) == 0
    assert caplog.messages == ["Another process is busy; waiting for it."]


WITHOUT = """
import sys
import portalocker, filelock  # other libraries ask for the platform, and import fcntl on this one
sys.modules["fcntl"] = sys.modules["resource"] = None
from pathlib import Path
import numpy as np
import unseg_d2
for name in unseg_d2.__all__:
    getattr(unseg_d2, name)
from unseg_d2.files import write_json
from unseg_d2.loop.events import memory_megabytes
from unseg_d2.pseudo.shard_writer import ShardWriter
from unseg_d2.pseudo.shards import ShardFolder
folder = Path(sys.argv[1])
write_json(folder / "a.json", 1)
assert memory_megabytes() == 0
shards = ShardFolder(folder / "labels")
shards.open({"num_images": 1, "shard_size": 1})
with ShardWriter(shards, 0) as writer:
    writer.append([{"id": 1, "file_name": "1.png", "failure": "empty"}])
    writer.finish()
assert [line["id"] for line in shards.lines()] == [1]
assert unseg_d2.load_recipe(None, "SOLVER.MAX_ITER", 7).SOLVER.MAX_ITER == 7
"""


def test_the_package_works_without_the_modules_that_windows_lacks(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", WITHOUT, tmp_path], check=True)
    assert not list(tmp_path.rglob("*.tmp-*")) and not list(tmp_path.rglob("*.lock"))


def test_two_processes_with_one_id_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    """Containers that see one folder have processes of the same number."""
    code = """
import os, sys, time
os.getpid = lambda: 1
from unseg_d2.files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(sys.argv[2].encode() * 5000)
    file.flush()
    time.sleep(1)
    file.write(sys.argv[2].encode() * 5000)
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "file", letter]) for letter in "abcd"]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    text = (tmp_path / "file").read_text()
    assert text in [letter * 10_000 for letter in "abcd"] and len(list(tmp_path.iterdir())) == 1
