"""Measure memory: a new process for each measurement, and the growth of its peak."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch


class PeakMemory:
    """Context manager; afterwards ``megabytes`` is the peak memory beyond what was in use at the start.

    On a CPU that is the resident memory of the process; on CUDA what PyTorch has allocated.

    Args:
        device: whose memory to measure.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.cuda = torch.device(device).type == "cuda"
        self.megabytes = 0.0

    def __enter__(self) -> PeakMemory:
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self.before = torch.cuda.memory_allocated() if self.cuda else resident()
        return self

    def __exit__(self, *_: object) -> None:
        after = torch.cuda.max_memory_allocated() if self.cuda else resident("VmHWM")
        self.megabytes = (after - self.before) / 1e6


def resident(field: str = "VmRSS") -> int:
    """Return the resident memory of this process in bytes: the current, or with ``VmHWM`` the peak."""
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))
    # Other systems than Linux; on Linux this would include the peak of the parent before the fork.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_own_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call an importable function in a new process and return its result."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()
