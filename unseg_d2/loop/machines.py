"""The machines that train together, and whether torchrun started this process."""

from __future__ import annotations

import os
from dataclasses import dataclass

from unseg_d2.errors import UnsegError


@dataclass(frozen=True)
class Machines:
    """The machines that train together, all with the same number of processes.

    Attributes:
        number: how many.
        rank: which one this is, in [0, number).
        address: ``tcp://HOST:PORT``, a free port of machine 0 that all machines can reach; required for two or more.

    Raises:
        UnsegError: the values contradict each other.
    """

    number: int = 1
    rank: int = 0
    address: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.number:
            raise UnsegError(f"--machine-rank is {self.rank}, but must be between 0 and {self.number - 1}.")
        if self.number > 1 and not self.address.startswith("tcp://"):
            raise UnsegError(f"{self.number} machines need --dist-url tcp://HOST:PORT, where HOST is machine 0.")


ONE_MACHINE = Machines()


def under_torchrun() -> bool:
    """Return whether torchrun started this process as one of a group."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_main_process(machines: Machines = ONE_MACHINE) -> bool:
    """Return whether this process, before it has started any, is the one that writes for all."""
    return machines.rank == 0 and (not under_torchrun() or os.environ["RANK"] == "0")
