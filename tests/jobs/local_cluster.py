"""A real Ray cluster of several machines on this one."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

AROUND = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_raylet_start_wait_time_s": "300",  # 30 by default, which a busy machine exceeds
    "RAY_gcs_server_port_wait_time_s": "300",
}
"""Environment of all processes, this one included."""
SYSTEM = {
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 5,  # of a machine that is gone; one that is only slow has 10 seconds for each
    "agent_register_timeout_ms": 600_000,
    "worker_register_timeout_seconds": 600,
}
LISTENS = "dashboard_agent_listen_port"
PORTS = ("metrics_agent_port", "runtime_env_agent_port", "metrics_export_port", LISTENS)
"""Given beforehand: Ray waits 15 seconds, whatever its settings, for processes to tell which ports they have taken."""
SESSION = "session_of_tests"


class LocalCluster:
    """A head that does no work, and machines that come and go.

    Args:
        folder: of Ray.
    """

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self._session = folder / "ray" / SESSION
        self._session.mkdir(parents=True)
        head = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True, "session_name": SESSION}
        head = {**self._options(0, 0), **head, "_system_config": SYSTEM}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._machines: dict[str, Any] = {}
        self.address: str = self._cluster.address

    def _options(self, cores: int, gpus: int) -> dict[str, Any]:
        with ExitStack() as opened:
            free = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
            ports = {name: one.getsockname()[1] for name, one in zip(PORTS, free)}
        name = secrets.token_hex(28)
        (self._session / f"{LISTENS}_{name}").write_text(str(ports[LISTENS]))  # the one that is no option of its own
        size = {"num_cpus": cores, "num_gpus": gpus, "object_store_memory": 80 << 20}
        return {**size, **ports, "env_vars": {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": name}}

    def add(self, cores: int = 1, gpus: int = 0) -> str:
        """Let a machine join, whose GPUs are numbers only, and return its name."""
        machine = self._cluster.add_node(wait=False, **self._options(cores, gpus))
        self._machines[machine.node_id] = machine
        return machine.node_id

    def kill(self, name: str) -> None:
        """Take a machine away without a word."""
        self._cluster.remove_node(self._machines.pop(name), allow_graceful=False)

    def clear(self) -> None:
        """Take all machines away but the head."""
        for name in list(self._machines):
            self.kill(name)

    def close(self) -> None:
        """End everything."""
        self.clear()
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)
        self._cluster.shutdown()


@contextmanager
def local_cluster() -> Iterator[LocalCluster]:
    """Begin a cluster; its processes find the modules of the tests."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # names of sockets are short
    on_sigterm = signal.getsignal(signal.SIGTERM)  # which Ray changes
    around = {**AROUND, "RAY_TMPDIR": folder, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in around.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # fewer than a machine pretends to have
        cluster = LocalCluster(Path(folder))
        try:
            yield cluster
        finally:
            cluster.close()
            signal.signal(signal.SIGTERM, on_sigterm)
            shutil.rmtree(folder, ignore_errors=True)
