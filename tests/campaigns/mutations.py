"""Changing bytes and values of files at random, and what has to hold when they are read."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable
from typing import Any

from campaign import TRIED
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from unseg_d2.errors import CheckpointMismatch, UnsegError

LONGEST = 20
"""Seconds for one file: what takes longer counts as a hang."""
EXAMPLES = int(os.environ.get("UNSEG_D2_CAMPAIGN_EXAMPLES", "50"))
trials = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)

fewer = settings(trials, max_examples=-(-EXAMPLES // 5))
"""For what takes a second each."""

HOSTILE = [
    *(None, True, "", "x", "\0", "../../etc/passwd", "é" * 300, -1, 0, 0.5, 1e308, -1e308, 10**30, 10**400),
    *(float("nan"), float("inf"), [], {}, [[]], [None], [float("nan")] * 6, {"size": [1, 1], "counts": "~~~~"}),
    *({"size": [20, 30], "counts": [600]}, {"size": [10**6, 10**6], "counts": "0"}, "1", ["1", "2", "3", "4"]),
]
"""Values in the place of any other."""
BYTES = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "insert", "fill"]), st.floats(0, 1), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)
PLACES = st.lists(st.tuples(st.lists(st.integers(0, 40), max_size=6), st.sampled_from(HOSTILE)), min_size=1, max_size=3)


HEADERS = st.lists(st.tuples(st.integers(0, 63), st.integers(0, 255)), min_size=1, max_size=4)
"""Bytes of the beginning of a file, where formats keep sizes, types and offsets."""

Changes = list[tuple[str, float, bytes]]


def mutated(content: bytes, changes: Changes) -> bytes:
    """Apply changes to bytes, each at a share of their length."""
    found = bytearray(content)
    for kind, share, data in changes:
        at = int(share * max(0, len(found) - 1))
        if kind == "cut":
            del found[at:]
        elif kind == "insert":
            found[at:at] = data
        elif kind == "fill":
            found[at : at + len(data)] = b"\0" * len(data)
        elif found:
            found[at] ^= 1 << (len(data) % 8)
    return bytes(found)


def with_header(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    """Set bytes at the beginning."""
    found = bytearray(content)
    for place, value in changes if found else ():
        found[place % len(found)] = value
    return bytes(found)


def replaced(value: Any, path: list[int], by: Any) -> Any:
    """Return nested lists and dictionaries with the value at a path replaced; a step of 40 removes an entry."""
    if not path or not isinstance(value, (list, dict)) or not value:
        return by
    value = copy.copy(value)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    if path[0] == 40:
        del value[keys[-1]]
        return value
    key = keys[path[0] % len(keys)]
    value[key] = replaced(value[key], path[1:], by)
    return value


def sentence(action: Callable[[], Any], what: str = "") -> bool:
    """Run what must succeed or end in one sentence; return whether it succeeded.

    Args:
        action: that reads the files.
        what: they are, for the counts of what was tried; empty where they were counted.
    """
    if what:
        TRIED[f"mutated: {what}"] += 1
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(LONGEST)
    try:
        action()
    except UnsegError as error:
        assert str(error).strip() and "Traceback" not in str(error)
        lines = 3 if isinstance(error, CheckpointMismatch) else 1  # what it is, what was expected, how to use it
        assert len(str(error).splitlines()) == lines, str(error)
        return False
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return True


def _hangs(*_: object) -> None:
    raise AssertionError(f"It takes longer than {LONGEST} seconds.")
