"""Loops of the permutohedral lattice, compiled by Numba; imported only where it is installed.

Indices are made unsigned where that spares a test for negative ones in an innermost loop. Channels are taken eight at a
time, then the few that remain one by one: an instruction for eight would be wasted on them.

Shape legend
    b      images
    d      dimensions, D = d + 1
    n      points per image, N = b n
    v      vertices; row v of a table stands for no vertex and is zero
    c      channels
"""

from __future__ import annotations

import math

import numpy as np
from numba import float32, int64, njit, uint64

FRACTION, AXIS_BITS = 2**24, 3  # a fractional part in fixed point and its axis are sorted as one integer
AXIS_MASK = 2**AXIS_BITS - 1
HASH_FACTOR = uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio
HALF, STEP = float32(0.5), float32(1 / FRACTION)
LANES = uint64(8)
compiled = njit(nogil=True, cache=True, fastmath={"contract"})


@compiled
def corners_of_points(
    positions: np.ndarray, strides: np.ndarray, offset: int, keys_per_image: int, table_bits: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the vertices in the order in which points reach them.

    Args:
        positions: ``(b, d, n)`` float32, in standard deviations.
        strides: ``(D,)`` int64, what a step along each axis adds to a key.
        offset: key of the origin in the first image.
        keys_per_image: what is added to it from image to image.
        table_bits: a table of 2 to this power holds the vertices, at most half as many.

    Returns:
        Vertex ``(N, D)`` int32 and barycentric weight ``(N, D)`` float32 of each point's corners, and the key of each
        vertex ``(v,)``, which is empty if there are too many for the table.
    """
    b, d, n = positions.shape
    corners, weights = np.empty((b * n, d + 1), np.int32), np.empty((b * n, d + 1), np.float32)
    scales = np.array([math.sqrt(2 / 3 / ((e + 1) * (e + 2))) for e in range(d)])
    size, shift = int64(1) << table_bits, uint64(64 - table_bits)
    table, numbers = np.full(size, -1, np.int64), np.empty(size, np.int32)
    keys, vertices = np.empty(size // 2, np.int64), 0
    order = np.empty(d + 1, np.int64)
    for point in range(b * n):
        image, place = point // n, point % n
        key = offset + image * keys_per_image
        later = 0.0  # section 3.1: y_a is the sum of the later coordinates less a times the one before
        for axis in range(d, -1, -1):
            y = later
            if axis > 0:
                scaled = scales[axis - 1] * positions[image, axis - 1, place]
                y -= axis * scaled
                later += scaled
            floor = math.floor(y)
            key += int64(floor) * strides[axis]
            order[axis] = (int64((y - floor) * FRACTION) << AXIS_BITS) | axis
        for last in range(d, 0, -1):  # a sorting network, largest first
            for j in range(last):
                order[j], order[j + 1] = max(order[j], order[j + 1]), min(order[j], order[j + 1])
        before = FRACTION + (order[d] >> AXIS_BITS)
        for j in range(d + 1):
            fraction = order[j] >> AXIS_BITS
            weights[point, j] = float32(before - fraction) * STEP
            before = fraction
            slot = int64((uint64(key) * HASH_FACTOR) >> shift)
            while table[slot] != key and table[slot] >= 0:
                slot = (slot + 1) & (size - 1)
            if table[slot] < 0:
                if vertices == len(keys):
                    return corners, weights, keys[:0]
                table[slot], numbers[slot], keys[vertices] = key, vertices, key
                vertices += 1
            corners[point, j] = numbers[slot]
            key += strides[order[j] & AXIS_MASK]
    return corners, weights, keys[:vertices]


@compiled
def renumber(numbers: np.ndarray, corners: np.ndarray, start: int, stop: int) -> None:
    """Replace each vertex of corners ``(N, D)`` int32, rows ``start`` to ``stop``, by its new number."""
    for point in range(uint64(start), uint64(stop)):
        for j in range(uint64(corners.shape[1])):
            corners[point, j] = numbers[uint64(corners[point, j])]


@compiled
def match(keys: np.ndarray, stride: int) -> np.ndarray:
    """Return ``(v + 1, 2)`` int32: which of the sorted keys is ``stride`` above each, which below; v for none."""
    vertices = len(keys)
    neighbours = np.full((vertices + 1, 2), vertices, np.int32)
    above, below = (0, 1) if stride > 0 else (1, 0)
    j = 0
    for i in range(vertices):
        wanted = keys[i] + abs(stride)
        while j < vertices and keys[j] < wanted:
            j += 1
        if j < vertices and keys[j] == wanted:
            neighbours[i, above], neighbours[j, below] = j, i
    return neighbours


@compiled
def by_vertex(corners: np.ndarray, weights: np.ndarray, vertices: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transpose: of each vertex its points and their weights.

    Returns:
        First entry of each vertex, of row v and behind it, ``(v + 2,)`` int32; points ``(N D,)`` int32; weights.
    """
    starts = np.zeros(vertices + 2, np.int32)
    for vertex in corners.flat:
        starts[vertex + 1] += 1
    starts = np.cumsum(starts).astype(np.int32)
    filled = starts.copy()
    points, sorted_weights = np.empty(corners.size, np.int32), np.empty(corners.size, np.float32)
    for point in range(len(corners)):
        for j in range(corners.shape[1]):
            vertex = corners[point, j]
            points[filled[vertex]], sorted_weights[filled[vertex]] = point, weights[point, j]
            filled[vertex] += 1
    return starts, points, sorted_weights


@compiled
def blur(neighbours: np.ndarray, values: np.ndarray, out: np.ndarray, start: int, stop: int) -> None:
    """Write rows ``start`` to ``stop`` of ``(v + 1, c)`` float32: each row plus half of both neighbours."""
    channels = uint64(values.shape[1])
    whole = channels - channels % LANES
    for i in range(uint64(start), uint64(stop)):
        a, b = uint64(neighbours[i, 0]), uint64(neighbours[i, 1])
        for k in range(uint64(0), whole):
            out[i, k] = values[i, k] + HALF * (values[a, k] + values[b, k])
        for k in range(whole, channels):
            out[i, k] = values[i, k] + HALF * (values[a, k] + values[b, k])


@compiled
def splat_column(corners: np.ndarray, weights: np.ndarray, values: np.ndarray, out: np.ndarray) -> None:
    """Add one channel of values ``(N,)`` float32 to the vertices ``(v + 1,)``."""
    for point in range(uint64(len(corners))):
        value = values[point]
        for j in range(uint64(corners.shape[1])):
            out[uint64(corners[point, j])] += weights[point, j] * value


@compiled
def blur_column(neighbours: np.ndarray, values: np.ndarray, out: np.ndarray, start: int, stop: int) -> None:
    """Write rows ``start`` to ``stop`` of ``(v + 1,)`` float32: each plus half of both neighbours."""
    for i in range(uint64(start), uint64(stop)):
        out[i] = values[i] + HALF * (values[uint64(neighbours[i, 0])] + values[uint64(neighbours[i, 1])])


@compiled
def slice_column(
    corners: np.ndarray, weights: np.ndarray, values: np.ndarray, out: np.ndarray, start: int, stop: int
) -> None:
    """Write points ``start`` to ``stop`` of ``(N,)`` float32: the weighted sums of vertices ``(v + 1,)``."""
    for point in range(uint64(start), uint64(stop)):
        total = float32(0)
        for j in range(uint64(corners.shape[1])):
            total += weights[point, j] * values[uint64(corners[point, j])]
        out[point] = total


@compiled
def shares(exponentials: np.ndarray, prior: np.ndarray, rest: np.ndarray, start: int, stop: int) -> None:
    """Turn rows ``start`` to ``stop`` of e ``(N, L)`` into q_l = p_l e_l / (sum_k p_k e_k + r / prod_k e_k)."""
    labels = uint64(exponentials.shape[1])
    for i in range(uint64(start), uint64(stop)):
        product, total = float32(1), float32(0)
        for k in range(labels):
            e = exponentials[i, k]
            product *= e
            e *= prior[i, k]
            total += e
            exponentials[i, k] = e
        scale = float32(1) / (total + rest[i] / product)
        for k in range(labels):
            exponentials[i, k] *= scale
