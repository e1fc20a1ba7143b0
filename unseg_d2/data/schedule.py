"""The order of the images: an endless, reproducible sequence of batches.

Shape legend
    n   number of images
    B   images per batch over all processes
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def batch_order(groups: np.ndarray, batch_size: int, seed: int, *, start: int = 0) -> Iterator[np.ndarray]:
    """Yield the indices of batch ``start``, ``start + 1`` and so on without end.

    Every epoch is a fresh permutation. Its images go into one bucket per group; a full bucket is a batch, and what
    remains in the buckets waits for the next epoch, so no image is left out and a batch holds one group only.

    Args:
        groups: ``(n,)`` int in [0, G), the group of each image, e.g. its orientation.
        batch_size: B.
        seed: the order is a function of it alone.
        start: first batch to yield; skipping the earlier ones costs next to nothing.

    Raises:
        ValueError: no images, or a batch size below 1.
    """
    if len(groups) == 0 or batch_size < 1:
        raise ValueError(f"need images and a batch size of at least 1, got {len(groups)} and {batch_size}")
    waiting = [np.zeros(0, dtype=np.int64) for _ in range(int(groups.max()) + 1)]
    passed, epoch = 0, 0
    while True:
        batches, waiting = _fill(groups, waiting, batch_size, np.random.default_rng([seed, epoch]))
        yield from batches[max(start - passed, 0) :]
        passed += len(batches)
        epoch += 1


def _fill(
    groups: np.ndarray, waiting: list[np.ndarray], batch_size: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One epoch: batches ``(m, B)`` in the order in which they become full, and what is left per group."""
    order = rng.permutation(len(groups))
    batches, full_at, left = [], [], []
    for group, bucket in enumerate(waiting):
        position = np.flatnonzero(groups[order] == group)
        stream = np.concatenate([bucket, order[position]])
        number = len(stream) // batch_size
        batches.append(stream[: number * batch_size].reshape(number, batch_size))
        last = np.arange(1, number + 1) * batch_size - 1 - len(bucket)  # index in this epoch of a batch's last image
        full_at.append(position[last])
        left.append(stream[number * batch_size :])
    return np.concatenate(batches)[np.argsort(np.concatenate(full_at), kind="stable")], left
