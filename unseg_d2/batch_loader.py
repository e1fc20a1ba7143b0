"""A data loader whose items are whole batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
from torch.utils.data import DataLoader, Dataset

from unseg_d2.devices import available_cores
from unseg_d2.errors import UnsegError


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
    return _Batches(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=min(num_workers, available_cores()),
        collate_fn=_identity,
        **options,
    )


class _Batches(DataLoader):
    """Says in one sentence that one of its processes was killed."""

    def __iter__(self) -> Any:
        return _explained(super().__iter__())


def _explained(batches: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UnsegError(
            f"A loader process died ({str(error).splitlines()[0]}); memory or /dev/shm may have run out: "
            "lower DATALOADER.NUM_WORKERS (0 needs no shared memory)."
        ) from error


def _identity(item: Any) -> Any:
    return item
