"""What the benchmarks of memory share: a fresh process per measurement, and how much its peak grows."""

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
    """Context manager; afterwards ``megabytes`` is how far the peak rose above what was in use at its start.

    On a CPU that is the resident memory of the process; on CUDA what PyTorch has allocated.

    Args:
        device: where the memory is.
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
        after = torch.cuda.max_memory_allocated() if self.cuda else resident_peak()
        self.megabytes = (after - self.before) / 1e6


def resident() -> int:
    """Return the resident memory of this process in bytes; where there is no /proc, the largest it has had."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.is_file() else resident_peak()


def resident_peak() -> int:
    """Return the largest resident memory that this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_own_process(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a function of a module returns in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()
