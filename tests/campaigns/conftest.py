"""Fixtures of the campaigns, and what they say at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from campaign import TRIED, Campaign
from command_server import CommandServer
from tiny_commands import REPOSITORY, make_stage


@pytest.fixture(scope="session")
def campaign() -> Iterator[Campaign]:
    """Inputs and outputs lie in memory where that is possible: what is tried does not depend on the disk."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30 else None
    root = Path(tempfile.mkdtemp(prefix="unseg-campaign-", dir=place))
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **one, "PYTHONPATH": str(REPOSITORY)}
    try:
        with CommandServer(root, environment) as server:
            (root / "stage").mkdir()
            make_stage(server, root / "stage")
            yield Campaign(server, root / "stage", root / "out")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what was tried to the process that reports, if this is one of pytest-xdist's."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tried"] = dict(TRIED)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect what a process of pytest-xdist tried."""
    TRIED.update(getattr(node, "workeroutput", {}).get("tried", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how much was tried."""
    if TRIED:
        terminalreporter.section("campaigns")
        for what, count in sorted(TRIED.items()):
            terminalreporter.write_line(f"{count:6} {what}")
