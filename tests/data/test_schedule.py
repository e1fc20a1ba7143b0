from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from unseg_d2.data.schedule import batch_order

GROUPS = np.array([0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0])


def take(count: int, groups: np.ndarray = GROUPS, size: int = 4, seed: int = 0, start: int = 0) -> list[list[int]]:
    return [batch.tolist() for batch in islice(batch_order(groups, size, seed, start=start), count)]


def simulated(count: int, groups: np.ndarray, size: int, seed: int) -> list[list[int]]:
    """The same with buckets that are filled one image after the other."""
    buckets: dict[int, list[int]] = {}
    batches: list[list[int]] = []
    epoch = 0
    while len(batches) < count:
        for index in np.random.default_rng([seed, epoch]).permutation(len(groups)).tolist():
            bucket = buckets.setdefault(int(groups[index]), [])
            bucket.append(index)
            if len(bucket) == size:
                batches.append(bucket.copy())
                bucket.clear()
        epoch += 1
    return batches[:count]


@pytest.mark.parametrize("size", [1, 3, 4, 7])
def test_equals_buckets_filled_one_by_one(size: int) -> None:
    assert take(40, size=size) == simulated(40, GROUPS, size, 0)


def test_starts_anywhere() -> None:
    everything = take(60)
    for start in (0, 1, 2, 17, 43):
        assert take(60 - start, start=start) == everything[start:]


def test_batches_hold_one_group_and_no_image_is_left_out() -> None:
    batches = take(39)  # 39 batches of 4 are 12 epochs of 13
    assert all(len(set(GROUPS[batch].tolist())) == 1 for batch in batches)
    counts = np.bincount(np.concatenate(batches), minlength=len(GROUPS))
    assert counts.min() >= 11 and counts.max() <= 13


def test_epochs_and_seeds_differ() -> None:
    one_group = np.zeros(12, dtype=int)
    first, second = take(3, one_group), take(3, one_group, start=3)
    assert sorted(np.ravel(first)) == sorted(np.ravel(second)) == list(range(12))
    assert first != second and first != take(3, one_group, seed=1)


def test_fewer_images_than_a_batch() -> None:
    assert np.ravel(take(3, np.zeros(2, dtype=int), size=5)).tolist().count(0) in (7, 8)


def test_nothing_to_order_is_refused() -> None:
    with pytest.raises(ValueError, match="need images"):
        take(1, np.zeros(0, dtype=int))
