"""Loops that release Python's lock, in as many threads as PyTorch uses."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TypeVar

import torch

LEAST_ROWS = 20_000  # fewer are not worth another thread
Item = TypeVar("Item")
Result = TypeVar("Result")
_local = threading.local()


def in_threads(loop: Callable[[int, int], None], rows: int, *, least: int | None = None) -> None:
    """Run a loop over rows from start to stop, a part of at least ``least`` rows in each thread."""
    parts = min(_num_threads(), max(1, rows // (least or LEAST_ROWS)))
    bounds = [(rows * i // parts, rows * (i + 1) // parts) for i in range(parts)]
    map_in_threads(lambda part: loop(*part), bounds)


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return a function's result for each item, in order; loops that it runs itself stay in its thread."""
    items, threads = list(items), _num_threads()
    if min(len(items), threads) < 2:
        return [function(item) for item in items]
    return list(_pool(threads).map(partial(_alone, function), items))


def _num_threads() -> int:
    return 1 if getattr(_local, "alone", False) else torch.get_num_threads()


def _alone(function: Callable[[Item], Result], item: Item) -> Result:
    _local.alone = True  # a thread of the pool, which does nothing else
    return function(item)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="refine")


if hasattr(os, "register_at_fork"):  # a forked process has the pool without its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
