"""Runs commands in children of a process that has imported everything, and kills them.

A new interpreter needs seconds to import torch, and nothing is written meanwhile: most kills would hit the imports, and
a campaign could afford dozens of them. So a server imports everything once, computes nothing (pools of threads do not
survive a fork), and forks a child per run, which calls the command's own ``main``, as ``unseg-d2`` does. A child leads
a session of its own, so that a kill reaches its worker processes too; whatever outlives it is inherited by the server,
so that orphans are seen. Its workers are forked too (`_Forked`), unless a run asks for new interpreters.

A child counts its *events*: what it does to files below a folder (opening for writing, renaming, removing, making
folders, ``fsync``). A run can be killed, or something can happen to its files, right before any of them: that reaches
each moment between two writes, which a random time seldom does.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import multiprocessing
import os
import resource
import select
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
PAUSE = 1.0
"""Seconds for which a worker is stopped."""
PATIENCE = 15.0
"""Seconds after which a process that lives on without its command counts as hanging."""
WATCHED = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}


@dataclass
class Run:
    """A command to run.

    Attributes:
        words: of the command line, after ``unseg-d2``.
        log: file of what it says; both streams.
        folder: whose events count.
        after: seconds until ``act``.
        event: number of the event, from 1, right before which ``act`` happens.
        act: ``kill`` (with its processes) or ``kill alone`` (its processes stay); with ``after`` also ``kill worker``
            and ``pause worker``, which waits for one; with ``event`` also ``remove PATH`` and ``swap PATH OTHER``.
        delay: seconds before it starts.
        spawn: its workers are new interpreters, as they are outside this campaign.
        limits: such as ``{"FSIZE": 1000}``, see the module ``resource``; ``AS`` is on top of what it has already.
    """

    words: Sequence[str]
    log: str
    folder: str
    after: float | None = None
    event: int | None = None
    act: Sequence[str] = ("kill",)
    limits: dict[str, int] = field(default_factory=dict)
    delay: float = 0.0
    spawn: bool = False


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        status: of the exit; minus the signal where one ended it.
        seconds: that it took.
        events: that it came to, its processes not counted.
        first: seconds to the first event.
        late: whether it had to be ended, because it took too long.
        orphans: processes of it that lived on for longer than `PATIENCE`.
        said: what it printed.
    """

    status: int
    seconds: float
    events: int
    first: float
    late: bool
    orphans: int
    said: str = ""


class CommandServer:
    """A context manager that starts the server and ends it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / "server.log"
        self.environment = environment
        self.count = 0
        self.folder = folder

    def __enter__(self) -> CommandServer:
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
                cwd=self.folder,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()

    def run(self, words: Sequence[str], folder: Path, timeout: float = 120.0, **options: Any) -> Ended:
        """Run one command and wait for its end."""
        return self.run_all([Run(words, "", str(folder), **options)], timeout)[0]

    def run_all(self, runs: list[Run], timeout: float = 120.0) -> list[Ended]:
        """Run commands at the same time and wait for the end of all."""
        for run in runs:
            self.count += 1
            run.log = str(self.folder / f"run{self.count}.log")
            Path(run.log).touch()
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([timeout, [asdict(run) for run in runs]]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the server has ended: {self.log.read_text()}"
        said = [Path(run.log).read_text(errors="replace") for run in runs]
        return [Ended(**values, said=text) for values, text in zip(json.loads(line), said, strict=True)]


def _serve() -> None:
    """Do what the lines of stdin ask for, one after the other."""
    import cv2
    import torch

    _import_everything()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    gc.freeze()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    requests, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    while line := requests.readline():
        timeout, runs = json.loads(line)
        children = [_Child(Run(**run)) for run in runs]
        end = time.monotonic() + timeout
        while any(child.watch(late=time.monotonic() > end) for child in children):
            time.sleep(0.002)
        answers.write(json.dumps([child.ended() for child in children]) + "\n")
        answers.flush()


def _import_everything() -> None:
    """Import every module of the package that can be imported here, so that no child has to."""
    import importlib
    import pkgutil

    import unseg_d2

    for module in pkgutil.walk_packages(unseg_d2.__path__, "unseg_d2."):
        if "detectron2" in module.name or module.name.endswith(("__main__", "_loops")):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:  # an extra that is not installed
            print(f"{module.name}: {error}", file=sys.stderr)


class _Child:
    """A forked process that runs a command, seen from the server."""

    def __init__(self, run: Run) -> None:
        self.run, self.started = run, time.monotonic()
        self.events, self.first, self.late = 0, 0.0, False
        self.status: int | None = None
        self.acted, self.paused = run.after is None, 0
        self.reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(run, writing)  # does not return
        os.close(writing)
        os.set_blocking(self.reading, False)

    def watch(self, late: bool) -> bool:
        """Act when it is time, count events; return whether the process still runs."""
        self._count()
        if self.status is not None:
            return False
        passed = time.monotonic() - self.started
        if not self.acted and passed >= (self.run.after or 0):
            self._act()
        if self.paused and passed >= (self.run.after or 0) + PAUSE:
            _send(self.paused, signal.SIGCONT, alone=True)
            self.paused = 0
        if late and not self.late:
            self.late = True
            _send(self.pid, signal.SIGKILL, alone=False)
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.status, self.seconds = os.waitstatus_to_exitcode(status), passed
        return self.status is None

    def _act(self) -> None:
        """Do to the run what is due; a worker has to be there."""
        what = self.run.act[0]
        if "worker" not in what:
            _send(self.pid, signal.SIGKILL, alone="alone" in what)
            self.acted = True
        elif workers := [pid for pid, session in _sessions() if session == self.pid and pid != self.pid]:
            self.acted = True
            if what == "pause worker":
                self.paused = workers[0]
            _send(workers[0], signal.SIGSTOP if self.paused else signal.SIGKILL, alone=True)

    def ended(self) -> dict[str, Any]:
        """Return what `Ended` holds, after its processes have ended too."""
        orphans, end = _living(self.pid), time.monotonic() + PATIENCE
        while orphans and time.monotonic() < end:
            time.sleep(0.01)
            orphans = _living(self.pid)
        if orphans:
            _send(self.pid, signal.SIGKILL, alone=False)
        os.close(self.reading)
        values = {"status": self.status, "seconds": self.seconds, "events": self.events, "first": self.first}
        return {**values, "late": self.late, "orphans": orphans}

    def _count(self) -> None:
        while select.select([self.reading], [], [], 0)[0]:
            found = len(os.read(self.reading, 4096))
            if not found:
                return
            if not self.events:
                self.first = time.monotonic() - self.started
            self.events += found


def _living(group: int) -> int:
    """Return the number of processes of a session's group that have not ended; those that have are reaped."""
    count = 0
    for pid, session in _sessions():
        if session == group:
            try:
                count += os.waitpid(pid, os.WNOHANG)[0] == 0
            except ChildProcessError:  # a child of one that lives on
                count += 1
    return count


def _sessions() -> Iterator[tuple[int, int]]:
    """Yield each process of this machine with its session."""
    for entry in os.scandir("/proc"):
        with suppress(OSError):
            if entry.name.isdigit():
                yield int(entry.name), int(Path(entry.path, "stat").read_text().rpartition(")")[2].split()[3])


def _send(pid: int, number: int, alone: bool) -> None:
    with suppress(ProcessLookupError):
        (os.kill if alone else os.killpg)(pid, number)


def _become(run: Run, writing: int) -> None:
    """Turn this process, just forked, into a run of the command."""
    os.setsid()
    log = os.open(run.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    time.sleep(run.delay)
    if "AS" in run.limits:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        run.limits["AS"] += pages * resource.getpagesize()
    for name, value in run.limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    if "FSIZE" in run.limits:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as a write that fails, not as a signal that ends the process
    if not run.spawn:
        context = multiprocessing.get_context
        multiprocessing.get_context = lambda name=None: _Forked() if name == "spawn" else context(name)
    _watch_events(run, writing)
    multiprocessing.process._children.clear()  # those of the server are none of ours
    sys.argv = ["unseg-d2", *run.words]
    from unseg_d2.cli.main import main

    status: Any = 1
    try:
        main()
    except SystemExit as exit:
        status = exit.code
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)  # freeing what the server has imported takes seconds


class _Forked:
    """In place of the context ``spawn``: processes that need not import anything, and share nothing else."""

    def __init__(self) -> None:
        self.Pipe = multiprocessing.Pipe

    def Process(self, target: Callable[..., None], args: tuple[Any, ...], daemon: bool) -> Any:
        context = multiprocessing.get_context("fork")
        return context.Process(target=_alone, args=(target, args), daemon=daemon)


def _alone(target: Callable[..., None], args: tuple[Any, ...]) -> None:
    """Run a worker that has no end of a pipe but its own, as if it had been spawned."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if int(name) != args[0].fileno() and stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                os.close(int(name))
    target(*args)


def _watch_events(run: Run, writing: int) -> None:
    count, busy, me = 0, False, os.getpid()

    def happened() -> None:
        nonlocal count, busy
        if busy or os.getpid() != me:
            return
        count += 1
        os.write(writing, b".")
        if count == run.event:
            busy = True
            _act(run.act)
            busy = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR) and _is_below(path, run.folder):
                happened()
        elif event in WATCHED and _is_below(arguments[0], run.folder):
            happened()

    sync = os.fsync

    def fsync(file: Any) -> None:
        happened()  # everything is written, and nothing is in its place yet
        sync(file)

    os.fsync = fsync
    sys.addaudithook(hook)


def _is_below(path: Any, folder: str) -> bool:
    return isinstance(path, (str, bytes, os.PathLike)) and os.path.abspath(os.fsdecode(path)).startswith(folder)


def _act(act: Sequence[str]) -> None:
    actions: dict[str, Callable[..., object]] = {
        "kill": lambda: os.killpg(0, signal.SIGKILL),
        "kill alone": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "remove": _remove,
        "swap": _swap,
    }
    actions[act[0]](*act[1:])


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        os.unlink(path)


def _swap(path: str, other: str) -> None:
    """Put the content of another file in the place of a file, as copying over it does."""
    shutil.copyfile(other, path)


if __name__ == "__main__":
    _serve()
