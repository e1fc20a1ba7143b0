"""Machines that train together."""

from __future__ import annotations

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.loop.machines import Machines


def test_machines_that_cannot_meet_are_refused() -> None:
    with pytest.raises(UnsegError, match="2 machines need --dist-url tcp://HOST:PORT"):
        Machines(2, 0, "")
    with pytest.raises(UnsegError, match="--machine-rank is 2, but must be between 0 and 1"):
        Machines(2, 2, "tcp://10.0.0.1:29500")
