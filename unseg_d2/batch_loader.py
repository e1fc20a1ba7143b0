"""A data loader whose items are whole batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
from torch.utils.data import DataLoader, Dataset

from unseg_d2.devices import available_cores


def batch_loader(dataset: Dataset, sampler: Iterable[Any], num_workers: int, **options: Any) -> DataLoader:
    """Return a loader whose items are whole batches, with single-threaded processes, at most one per core.

    torch gives each process one thread, but OpenCV has to be told, and before the fork: its thread pool does not
    survive one, and a process that uses an inherited pool waits forever.

    Args:
        dataset: of batches.
        sampler: which batches, in which order.
        num_workers: processes that make them; 0 makes them in this one.
        **options: further options of `DataLoader`.
    """
    if num_workers:
        cv2.setNumThreads(1)
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=min(num_workers, available_cores()),
        collate_fn=_identity,
        **options,
    )


def _identity(item: Any) -> Any:
    return item
