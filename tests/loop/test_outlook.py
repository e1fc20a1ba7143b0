"""The arithmetic of the time that a training will take, and when it is said."""

from __future__ import annotations

import logging

import pytest

from unseg_d2.loop.outlook import FOLLOWING, outlook, say_outlook


def test_iterations_times_seconds() -> None:
    assert outlook(100, 2.0) == "100 iterations at 2 s: about 3 min 20 s on this machine"
    assert outlook(3600, 1.0, 7200) == (
        "3,600 iterations at 1 s: about 1 h on this machine; 7,200 more in the rounds after it: 3 h in all"
    )


def test_only_a_long_run_is_a_warning_with_the_other_way(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="unseg_d2")
    say_outlook(100, 1.0)
    assert caplog.records[-1].levelno == logging.INFO and "--budget" not in caplog.messages[-1]
    token = FOLLOWING.set(100_000)
    say_outlook(100, 1.0)
    assert caplog.records[-1].levelno == logging.WARNING and "with --budget 2h" in caplog.messages[-1]
    FOLLOWING.reset(token)


def test_nothing_is_said_of_a_planned_run_or_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="unseg_d2")
    say_outlook(0, 1.0)
    token = FOLLOWING.set(-1)
    say_outlook(100, 1.0)
    FOLLOWING.reset(token)
    assert not caplog.messages
