"""Numbers of any type to 8 bit, strip by strip, so that memory holds little more than the picture itself.

Shape legend
    H, W   height and width of the picture as it is stored, in pixels
    b      bands: 1 or 3
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Strip = Callable[[int, int], np.ndarray]
"""Rows from, to (exclusive) of a picture: ``(rows, W)`` or ``(rows, W, b)`` of its own type."""

PIXELS_PER_STRIP = 2**21
_LARGEST = 3.0e38  # beyond are the usual marks for "no data" of float32


def strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield the rows, from and to, of strips that cover a picture."""
    step = max(1, PIXELS_PER_STRIP // max(1, width))
    for top in range(0, height, step):
        yield top, min(top + step, height)


def used_range(strip: Strip, height: int, width: int, no_data: float | None = None) -> tuple[float, float] | None:
    """Return the least and the greatest finite value, ``None`` where there is none.

    Args:
        strip: gives the rows.
        height: H.
        width: W.
        no_data: value that means that nothing was measured; it does not count.
    """
    low, high = np.inf, -np.inf
    for top, bottom in strips(height, width):
        values = strip(top, bottom)
        if values.dtype.kind == "f" or no_data is not None:
            values = values[_valid(values, no_data)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else None


def to_8_bit(strip: Strip, height: int, width: int, window: tuple[float, float], no_data: float | None) -> np.ndarray:
    """Map one value to black and another to white, linearly and rounded; what was not measured is black.

    Args:
        strip: gives the rows.
        height: H.
        width: W.
        window: what becomes 0 and 255, and what lies beyond with it; equal ones make everything up to them 0 and what
            is above 255.
        no_data: value that means that nothing was measured.

    Returns:
        ``(H, W, 3)`` uint8; a single band is repeated.
    """
    result = np.empty((height, width, 3), np.uint8)
    table: np.ndarray | None = None
    for top, bottom in strips(height, width):
        values = strip(top, bottom)
        if values.dtype in (np.uint16, np.uint8):
            if table is None:
                table = _scaled(np.arange(np.iinfo(values.dtype).max + 1), window, no_data)
            levels = table[values]
        else:
            levels = _scaled(values, window, no_data)
        result[top:bottom] = (
            levels if levels.ndim == 3 and levels.shape[2] == 3 else levels.reshape(*levels.shape[:2], 1)
        )
    return result


def _scaled(values: np.ndarray, window: tuple[float, float], no_data: float | None) -> np.ndarray:
    black, white = window
    numbers = values.astype(np.float64)
    valid = _valid(values, no_data)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        numbers -= black
        numbers *= 255
        numbers /= white - black
    np.nan_to_num(numbers, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    numbers[~valid] = 0
    return np.rint(numbers.clip(0, 255)).astype(np.uint8)


def _valid(values: np.ndarray, no_data: float | None) -> np.ndarray:
    if values.dtype.kind == "f":
        valid = np.isfinite(values)
        if values.dtype.itemsize > 2:
            valid &= np.abs(values) < _LARGEST
    else:
        valid = np.ones(values.shape, bool)
    return valid if no_data is None else valid & (values != no_data)
