"""Loops that let go of Python's lock, in as many threads as PyTorch takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

LEAST_ROWS = 20_000  # fewer are not worth another thread
Item, Result = TypeVar("Item"), TypeVar("Result")


def in_threads(loop: Callable[[int, int], None], rows: int, *, least: int | None = None) -> None:
    """Run a loop over rows from start to stop, a part of at least ``least`` rows in each thread."""
    threads = min(torch.get_num_threads(), max(1, rows // (least or LEAST_ROWS)))
    bounds = [rows * i // threads for i in range(threads + 1)]
    if threads == 1:
        loop(0, rows)
    else:
        list(_pool(threads).map(loop, bounds[:-1], bounds[1:]))


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results of a function of each item, in order."""
    threads = torch.get_num_threads()
    return list(map(function, items) if threads == 1 else _pool(threads).map(function, items))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="refine")


if hasattr(os, "register_at_fork"):  # a forked process has the pool without its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
