"""How tasks of a Ray cluster are made; results do not depend on it."""

from __future__ import annotations

from dataclasses import dataclass

from unseg_d2.settings import Settings, section, setting


@section("RAY")
@dataclass(frozen=True)
class RaySettings(Settings):
    """Work on the machines of a Ray cluster (--engine ray)."""

    address: str = setting(
        "auto", "the cluster: auto (RAY_ADDRESS, or the one on this machine) | HOST:PORT | local (begin one here)"
    )
    cpus: float = setting(1.0, "cores of a task", above=0)
    gpus: float = setting(
        -1.0,
        "GPUs of a task: 0.5 lets two share one; -1 is 1 where DEVICE is cuda, or auto and the cluster has one at the "
        "start, else 0",
        low=-1,
        high=8,
    )
    max_retries: int = setting(
        10,
        "machines that may be lost while they do one job; one that ends processes is tried less often",
        low=0,
    )

    def check(self) -> None:
        """Refuse GPUs that are neither a number nor left to the cluster."""
        if self.gpus < 0 and self.gpus != -1:
            raise ValueError(f"gpus must be 0 or more, or -1, got {self.gpus:g}")
