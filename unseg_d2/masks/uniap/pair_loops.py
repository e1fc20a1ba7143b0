"""Products and distances of pairs of rows, compiled by Numba; imported only where it is installed.

Sums are in float32 and in any order, as those of PyTorch are.

Shape legend
    k      rows
    p      pairs of rows
    q      numbers in a row
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, fastmath=True)
def products(one: np.ndarray, other: np.ndarray, first: np.ndarray, second: np.ndarray, out: np.ndarray) -> None:
    """Multiply rows ``first`` of one matrix with rows ``second`` of another.

    Args:
        one: ``(k, q)`` float32.
        other: ``(k, q)`` float32.
        first: ``(p,)`` int64.
        second: ``(p,)`` int64.
        out: ``(p,)`` float32, written.
    """
    for pair in range(len(first)):
        left, right = one[first[pair]], other[second[pair]]
        total = np.float32(0)
        for place in range(len(left)):
            total += left[place] * right[place]
        out[pair] = total


@njit(nogil=True, cache=True, fastmath=True)
def distances(one: np.ndarray, other: np.ndarray, first: np.ndarray, second: np.ndarray, out: np.ndarray) -> None:
    """Average the absolute differences of rows; the arguments are those of :func:`products`."""
    for pair in range(len(first)):
        left, right = one[first[pair]], other[second[pair]]
        total = np.float32(0)
        for place in range(len(left)):
            total += abs(left[place] - right[place])
        out[pair] = total / np.float32(len(left))
