"""A data loader whose items are whole batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
from torch.utils.data import DataLoader, Dataset

from unseg_d2.devices import available_cores


def batch_loader(dataset: Dataset, sampler: Iterable[Any], num_workers: int, **options: Any) -> DataLoader:
    """Return a loader whose items are whole batches, with single-threaded processes, at most one per core.

    torch gives each process one thread; OpenCV has to be told, and here: its pool does not survive a fork, so that a
    process which touches a pool inherited from this one waits for ever.

    Args:
        dataset: of batches.
        sampler: which of them, in which order.
        num_workers: processes that make them; 0 makes them in this one.
        **options: further ones of `DataLoader`.
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
