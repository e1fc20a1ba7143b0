from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from test_workers import is_running
from worker_fakes import double, obey

from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.parcels import Arena
from unseg_d2.pseudo.step_processes import KilledTwice, StepProcesses

ARENA = Arena(2, 1000)


def helpers(step: Callable, number: int = 1) -> StepProcesses:
    return StepProcesses(step, number, name="finisher", key="PSEUDO.FINISHERS", arena=ARENA, plugins=())


@pytest.fixture(scope="module")
def obedient() -> Iterator[StepProcesses]:
    found = helpers(obey)
    yield found
    found.close()


def test_arguments_and_values_may_lie_in_slots() -> None:
    pool = helpers(double)
    try:
        parcel = ARENA.pack(np.arange(100), 0)
        answer = pool.submit(parcel, 1, slot=1).result(60)
        assert answer.value.slot == 1 and answer.seconds > 0
        np.testing.assert_array_equal(ARENA.unpack(answer.value), 2 * np.arange(100) + 1)
        np.testing.assert_array_equal(pool.submit(np.arange(3)).result(60).value, [0, 2, 4])
    finally:
        pool.close()


def test_another_process_does_the_step_and_errors_of_it_are_one_sentence(obedient: StepProcesses) -> None:
    word, pid = obedient.submit("read").result(60).value
    assert word == "read" and pid != os.getpid() and is_running(pid)
    with pytest.raises(UnsegError, match=r"^The disk is full\.$"):
        obedient.submit("problem").result(60)
    with pytest.raises(UnsegError, match=r"^A process that reads or finishes images failed: KeyError: 'a mistake'\. "):
        obedient.submit("mistake").result(60)
    assert obedient.submit("read").result(60).value == ("read", pid), "it goes on"


def test_a_killed_process_is_replaced_and_the_image_tried_once_more(
    obedient: StepProcesses, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    word, pid = obedient.submit(f"die once {tmp_path / 'killed'}").result(60).value
    assert word.startswith("die once") and is_running(pid)
    assert caplog.messages == [
        "A finisher process ended by signal 9 (Killed). The image it worked on is tried once more."
    ]


@pytest.mark.slow
def test_what_kills_two_processes_is_said(obedient: StepProcesses) -> None:
    with pytest.raises(KilledTwice, match=r"^A finisher process .* with a lower PSEUDO.FINISHERS if memory is short"):
        obedient.submit("die").result(60)
    assert obedient.submit("read").result(60).value[0] == "read"


def test_closing_ends_processes_whatever_they_do(obedient: StepProcesses) -> None:
    pool = helpers(obey)
    pid = pool.submit("read").result(60).value[1]
    sleeping, waiting = pool.submit("sleep"), pool.submit("read")
    pool.close()
    assert not is_running(pid)
    for future in (sleeping, waiting):
        assert isinstance(future.exception(10), (UnsegError, CancelledError))


def test_a_step_that_cannot_be_sent_is_refused_at_once() -> None:
    with pytest.raises(UnsegError, match=r"cannot be sent to another process .*: set PSEUDO.FINISHERS 0, or"):
        helpers(lambda: None)
