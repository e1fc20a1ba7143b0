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


@njit(nogil=True, cache=True)
def pack_rows(above: np.ndarray, bits: np.ndarray, start: int, limit: float) -> np.ndarray:
    """Write which patches are connected, of some rows of the matrix from the diagonal on, and the mirror image.

    Args:
        above: ``(r, n - start)`` float32, positive where the patches ``start + i`` and ``start + j`` are connected.
        bits: ``(g, n)`` uint8, written; see :class:`~unseg_d2.graph.affinity.BinaryAffinity`.
        start: first row and column, a multiple of 8; so is r where rows remain.
        limit: values nearer to 0 are listed.

    Returns:
        ``(m, 2)`` int64, rows and columns of ``above`` with such values.
    """
    rows, columns = above.shape
    first = start // 8
    for i in range(rows):
        row = above[i]
        for group in range(columns // 8):
            byte = 0
            for k in range(8):
                byte = (byte << 1) | (row[8 * group + k] > 0)
            bits[first + group, start + i] = byte
        if columns % 8:
            byte = 0
            for k in range(8):
                place = 8 * (columns // 8) + k
                byte = (byte << 1) | (place < columns and row[place] > 0)
            bits[first + columns // 8, start + i] = byte
    if rows < columns:
        for group in range(rows // 8):
            block, mirrored = above[8 * group : 8 * group + 8], bits[first + group]
            for j in range(rows, columns):
                byte = 0
                for k in range(8):
                    byte = (byte << 1) | (block[k, j] > 0)
                mirrored[start + j] = byte
    return _near_zero(above, np.float32(limit))


@njit(nogil=True, cache=True)
def _near_zero(values: np.ndarray, limit: np.float32) -> np.ndarray:
    """Return the places of values nearer to 0 than a limit; most rows have none, and are passed over at once."""
    count = 0
    for row in values:
        for value in row:
            count += abs(value) < limit
    places, found = np.empty((count, 2), np.int64), 0
    if count:
        for i in range(values.shape[0]):
            for j in range(values.shape[1]):
                if abs(values[i, j]) < limit:
                    places[found, 0], places[found, 1] = i, j
                    found += 1
    return places
