"""Batch ``t`` of a training as a function of (seed, ``t``) alone, made here or in other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import Dataset

from unseg_d2.batch_loader import batch_loader

Batch = TypeVar("Batch")


def batch_stream(make_batch: Callable[[int], Batch], start: int, stop: int, num_workers: int = 0) -> Iterator[Batch]:
    """Yield the batches of steps ``start`` to ``stop - 1`` in order, made in ``num_workers`` other processes if any."""
    if start >= stop:
        return iter(())
    persistent: dict[str, Any] = {"persistent_workers": True, "multiprocessing_context": "fork"} if num_workers else {}
    return iter(batch_loader(_Steps(make_batch, stop), range(start, stop), num_workers, **persistent))


def batch_rng(seed: int, t: int) -> np.random.Generator:
    """Return the random generator of batch ``t``."""
    return np.random.default_rng([seed, t])


def step_indices(count: int, batch_size: int, seed: int, t: int) -> list[int]:
    """Return which of ``count`` items make up batch ``t``: a new permutation per epoch; a batch may span two epochs.

    >>> sorted(step_indices(4, 2, 0, 0) + step_indices(4, 2, 0, 1))
    [0, 1, 2, 3]
    """
    positions = range(t * batch_size, (t + 1) * batch_size)
    return [int(_permutation(count, seed, position // count)[position % count]) for position in positions]


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


class _Steps(Dataset):
    """The batches of all steps as a map-style data set; each item is a batch."""

    def __init__(self, make_batch: Callable[[int], Any], length: int) -> None:
        self.make_batch = make_batch
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, t: int) -> Any:
        return self.make_batch(t)
