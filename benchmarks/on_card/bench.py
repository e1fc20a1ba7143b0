"""What the sections share: where they run, how they measure, and where figures go."""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Figures:
    """A file of figures, one JSON object per line, which are printed too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, section: str, **values: Any) -> None:
        """Append a line; floats are rounded to five significant digits."""
        rounded = {name: float(f"{v:.5g}") if isinstance(v, float) else v for name, v in values.items()}
        line = json.dumps({"section": section, **rounded})
        with self.path.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)


@dataclass(frozen=True)
class Profile:
    """A call seen by PyTorch's profiler: wall seconds, seconds in which a kernel ran, and how many kernels ran."""

    wall: float
    kernel_seconds: float
    kernels: int


@dataclass(frozen=True)
class Bench:
    """Where the sections run.

    Attributes:
        device: ``cuda`` or ``cpu``.
        tiny: whether toy sizes are used.
        scratch: folder for files that are deleted at the end.
        out: folder for what is kept.
        figures: where results go.
    """

    device: str
    tiny: bool
    scratch: Path
    out: Path
    figures: Figures

    @property
    def cuda(self) -> bool:
        """Whether a card is measured."""
        return self.device.startswith("cuda")

    @property
    def device_type(self) -> str:
        """``cuda`` or ``cpu``, without an index."""
        return torch.device(self.device).type

    def synchronise(self) -> None:
        """Wait until the card has done all that it was given."""
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], Any], repeats: int = 3, warm_up: int = 1) -> float:
        """Return the shortest time of several calls."""
        for _ in range(warm_up):
            call()
        times = []
        for _ in range(repeats):
            self.synchronise()
            started = time.perf_counter()
            call()
            self.synchronise()
            times.append(time.perf_counter() - started)
        return min(times)

    def profile(self, call: Callable[[], Any]) -> Profile:
        """Call twice, the second time under the profiler; without a card there are no kernels."""
        call()
        self.synchronise()
        activities = [torch.profiler.ProfilerActivity.CUDA if self.cuda else torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities) as profiler:
            started = time.perf_counter()
            call()
            self.synchronise()
            wall = time.perf_counter() - started
        kernels = [event for event in profiler.events() if event.device_type == torch.autograd.DeviceType.CUDA]
        return Profile(wall, sum(event.time_range.elapsed_us() for event in kernels) / 1e6, len(kernels))

    def waits(self, call: Callable[[], Any]) -> int:
        """Return how often the host waits for the card during a call, by PyTorch's own count; 0 without a card."""
        if not self.cuda:
            return 0
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(warning.message) for warning in seen)


class Utilisation:
    """Context manager; afterwards ``percent`` is the mean busy share of the card, ``None`` where it cannot be read."""

    def __init__(self, bench: Bench) -> None:
        self.read = _utilisation_reader() if bench.cuda else None
        self.samples: list[int] = []
        self.stop = threading.Event()

    def __enter__(self) -> Utilisation:
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    @property
    def percent(self) -> float | None:
        """Mean of the samples, in percent."""
        return float(np.mean(self.samples)) if self.samples else None

    def _sample(self) -> None:
        while self.read is not None and not self.stop.wait(0.1):
            self.samples.append(self.read())


def _utilisation_reader() -> Callable[[], int] | None:
    try:
        import pynvml  # package nvidia-ml-py

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    except Exception:  # no package, or no right to ask
        return None
    return lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
