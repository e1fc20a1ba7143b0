"""Products with a matrix of bits, compiled by Numba; imported only where it is installed.

Shape legend
    n      patches (nodes) of one image
    g      groups of eight patches
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def summed(partial_sums: np.ndarray, bits: np.ndarray, out: np.ndarray) -> None:
    """Add up, for each patch, the partial sums that its bytes point to.

    Args:
        partial_sums: ``(g, 256)`` float64, the sum for every byte of a group.
        bits: ``(g, n)`` uint8.
        out: ``(n,)`` float64, written.
    """
    groups, n = bits.shape
    out[:] = 0.0
    for start in range(0, groups - groups % 4, 4):  # four at a time: the result is read and written less often
        first, second, third, fourth = bits[start], bits[start + 1], bits[start + 2], bits[start + 3]
        for i in range(n):
            out[i] += (partial_sums[start, first[i]] + partial_sums[start + 1, second[i]]) + (
                partial_sums[start + 2, third[i]] + partial_sums[start + 3, fourth[i]]
            )
    for group in range(groups - groups % 4, groups):
        for i in range(n):
            out[i] += partial_sums[group, bits[group, i]]
