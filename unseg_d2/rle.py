"""Masks as text: COCO run lengths, and spatial confidence as one byte per patch.

Shape legend
    H, W   height and width of an image in pixels
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError

Segmentation = dict[str, Any] | list[list[float]]  # RLE (counts as text or as a list of lengths) or polygons

_LONGEST = 200  # times height and width: no outline of an object is as long
_DIGITS = 7  # of the longest number in run lengths
_BATCH = 100_000  # characters of run lengths that are summed at once


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Compress a mask.

    Args:
        mask: ``(H, W)`` bool.

    Returns:
        COCO RLE ``{"size": [H, W], "counts": text}``.
    """
    rle = mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def encode_runs(boundaries: np.ndarray, height: int, width: int) -> dict[str, Any]:
    """Compress a mask of which only the boundaries are known.

    Args:
        boundaries: ``(2k,)`` int64, where in the image, read column by column, a run of the mask begins and where it
            has ended, alternating and ascending; one may end where the next begins.
        height: H of the image.
        width: W of the image.

    Returns:
        COCO RLE, as `encode_mask`.
    """
    touching = np.flatnonzero(boundaries[1:] == boundaries[:-1])
    ends = np.delete(boundaries, np.concatenate([touching, touching + 1]))
    counts = np.diff(ends, prepend=0, append=height * width)
    if len(ends) and counts[-1] == 0:
        counts = counts[:-1]  # the mask reaches the last pixel
    rle = mask_utils.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def encode_in_box(mask: np.ndarray, top: int, left: int, height: int, width: int) -> dict[str, Any]:
    """Compress a mask of which only the part in a box is given; the work follows the box and not the image.

    Args:
        mask: ``(h, w)`` bool, the part in the box; elsewhere the mask is empty.
        top: first row of the box.
        left: first column of the box.
        height: H of the image.
        width: W of the image.

    Returns:
        COCO RLE, as `encode_mask`.
    """
    columns = np.pad(mask.T, ((0, 0), (1, 1)))
    column, row = np.nonzero(columns[:, 1:] != columns[:, :-1])
    return encode_runs((left + column) * height + top + row, height, width)


def decode_mask(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    """Expand polygons or an RLE.

    Args:
        segmentation: list of polygons ``[x1, y1, x2, y2, ...]`` in px, or RLE with text or list counts.
        height: H of the image.
        width: W of the image.

    Returns:
        ``(H, W)`` bool.

    Raises:
        UnsegError: the mask has another size, or is damaged.
    """
    return mask_utils.decode(to_rle(segmentation, height, width)).astype(bool)


def decode_masks(segmentations: Sequence[Segmentation], height: int, width: int) -> np.ndarray:
    """Expand the masks of one image, each in its own box: memory outside the boxes is not even touched.

    Args:
        segmentations: as in `decode_mask`.
        height: H of the image.
        width: W of the image.

    Returns:
        ``(n, H, W)`` bool.

    Raises:
        UnsegError: a mask has another size, or is damaged.
    """
    masks = np.zeros((len(segmentations), height, width), bool)
    for mask, rle in zip(masks, to_rles(segmentations, height, width)):
        left, top, columns, rows = (int(side) for side in mask_utils.toBbox(rle))
        box = np.s_[top : top + rows, left : left + columns]
        mask[box] = mask_utils.decode(rle)[box]
    return masks


def to_rle(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    """Bring polygons, or an RLE of either kind, into compressed form; see `to_rles`."""
    return to_rles([segmentation], height, width)[0]


def to_rles(segmentations: Sequence[Segmentation], height: int, width: int) -> list[dict[str, Any]]:
    """Bring masks of one image into compressed form.

    Args:
        segmentations: as in `decode_mask`.
        height: H of the image.
        width: W of the image.

    Raises:
        UnsegError: a mask has another size, or is damaged.
    """
    counts = [_sized(segmentation, height, width)["counts"] for segmentation in segmentations]
    if (run_totals(counts) != height * width).any():
        raise UnsegError(f"a mask is damaged: its run lengths do not sum to {height}x{width} pixels.")
    return [{"size": [height, width], "counts": text} for text in counts]


def compress(segmentation: Segmentation, height: int | None, width: int | None) -> dict[str, Any]:
    """Bring polygons, or an RLE of either kind, into compressed form, without checking the content.

    Args:
        segmentation: as in `decode_mask`.
        height: H of the image; only polygons need it.
        width: W of the image.

    Returns:
        COCO RLE, as `encode_mask`; what is compressed already as it is.

    Raises:
        UnsegError: the mask is damaged in a way that can be seen.
    """
    try:
        if isinstance(segmentation, list):
            rle = _drawn(segmentation, height, width)
        elif isinstance(segmentation["counts"], list):
            rle = mask_utils.frPyObjects(segmentation, height, width)
        else:
            rle = segmentation
        counts = rle["counts"]
    except UnsegError:
        raise
    except Exception as error:  # pycocotools raises the bare class too
        raise UnsegError(f"a mask is damaged: {error}.") from None
    return {**rle, "counts": counts.decode("ascii")} if isinstance(counts, bytes) else rle


def _drawn(polygons: list[list[float]], height: int | None, width: int | None) -> dict[str, Any]:
    """Draw polygons; pycocotools takes memory in proportion to their length, so they are cut off around the image.

    Raises:
        UnsegError: the size of the image is not known, a polygon holds what is no finite number, or is too long.
    """
    if height is None or width is None:
        raise UnsegError("the height and width of the image are missing, so its polygons cannot be drawn.")
    if not polygons:
        raise UnsegError("a mask is damaged: it has no polygons.")
    side, limit, length = max(height, width), _LONGEST * (height + width), 0.0
    drawn = []
    for polygon in polygons:
        corners = np.asarray(polygon, np.float64).reshape(-1, 2)
        if not np.isfinite(corners).all():
            raise UnsegError("a polygon holds what is no finite number.")
        if len(corners) < 3:
            raise UnsegError("a polygon needs at least three points (x1, y1, x2, y2, x3, y3, ...).")
        if corners.min() < -side or corners.max() > 2 * side:
            corners = _cut_off(corners, -side, 2.0 * side)
            polygon = corners.ravel().tolist()
        length += np.abs(np.diff(corners, axis=0, append=corners[:1])).max(1, initial=0).sum()
        drawn.append(polygon)
    if length > limit:
        raise UnsegError(f"its polygons are {length:.0f} px long in an image of {height}x{width}, which no outline is.")
    drawn = [polygon for polygon in drawn if len(polygon) >= 6]
    return mask_utils.merge(mask_utils.frPyObjects(drawn, height, width)) if drawn else _empty(height, width)


def _cut_off(corners: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the part of a polygon ``(n, 2)`` in a square, side by side as Sutherland and Hodgman do."""
    for axis, limit, sign in ((0, low, 1.0), (1, low, 1.0), (0, high, -1.0), (1, high, -1.0)):
        inside = sign * (corners[:, axis] - limit) >= 0
        before = np.roll(corners, 1, axis=0)
        result = []
        for corner, previous, is_in, was_in in zip(corners, before, inside, np.roll(inside, 1)):
            if is_in != was_in:
                share = (limit - previous[axis]) / (corner[axis] - previous[axis])
                result.append(previous + share * (corner - previous))
            if is_in:
                result.append(corner)
        corners = np.array(result).reshape(-1, 2)
    return corners


def _empty(height: int, width: int) -> dict[str, Any]:
    return encode_mask(np.zeros((height, width), bool))


def _sized(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    """`compress` what has the size of the image."""
    try:
        size = (height, width) if isinstance(segmentation, list) else tuple(segmentation["size"])
    except (KeyError, TypeError) as error:
        raise UnsegError(f"a mask is damaged: {error}.") from None
    if size != (height, width):
        raise UnsegError(f"a mask of size {_by(size)} does not fit an image of {height}x{width}.")
    return compress(segmentation, height, width)


def encode_confidence(confidence: np.ndarray) -> dict[str, Any]:
    """Compress a spatial confidence to 8 bit per patch.

    Args:
        confidence: ``(h, w)`` float in [0, 1].

    Returns:
        ``{"size": [h, w], "data": text}``, base64 of zlib.
    """
    values = np.rint(np.clip(confidence, 0, 1) * 255).astype(np.uint8)
    return {"size": list(values.shape), "data": base64.b64encode(zlib.compress(values.tobytes(), 9)).decode("ascii")}


def decode_confidence(encoded: dict[str, Any]) -> np.ndarray:
    """Expand what `encode_confidence` returned to ``(h, w)`` uint8, 255 meaning 1.

    Raises:
        UnsegError: the data is damaged.
    """
    try:
        height, width = encoded["size"]
        stream = zlib.decompressobj().decompress(base64.b64decode(encoded["data"]), int(height) * int(width) + 1)
        return np.frombuffer(stream, np.uint8).reshape(height, width)
    except (ValueError, KeyError, TypeError, OverflowError, zlib.error) as error:
        raise UnsegError(f"a spatial confidence is damaged: {error}.") from None


def run_totals(counts: Sequence[str]) -> np.ndarray:
    """Sum the run lengths of compressed masks; pycocotools itself reads beyond the end where they are too short.

    Each number is base 32 in characters from '0' on, lowest digit first; bit 5 means "more follows" and bit 4 of the
    last digit is the sign. From the fourth on, a number is the difference to the one two before.

    Args:
        counts: texts of ``n`` masks.

    Returns:
        ``(n,)`` int64 pixels; -1 where the text does not hold run lengths, or one of them is negative.
    """
    totals = np.full(len(counts), -1, np.int64)
    batch: list[int] = []
    size = 0
    for index, text in enumerate(counts):
        if text and text.isascii():
            batch.append(index)
            size += len(text)
        if size >= _BATCH:
            totals[batch] = _totals([counts[index] for index in batch])
            batch, size = [], 0
    if batch:
        totals[batch] = _totals([counts[index] for index in batch])
    return totals


def _totals(counts: Sequence[str]) -> np.ndarray:
    """`run_totals` of texts in ASCII, none of them empty, few enough for the processor's cache."""
    digits = np.frombuffer("".join(counts).encode("ascii"), np.uint8) - np.uint8(48)
    sizes = np.array([len(text) for text in counts])
    stop = np.cumsum(sizes)
    start = stop - sizes
    last = np.flatnonzero(digits & 32 == 0)  # last digit of every number
    length = last.copy()  # np.diff and np.r_ take longer than all the rest where there are few masks
    length[1:] -= last[:-1]
    length[:1] += 1
    good = np.logical_and.reduceat(digits < 64, start) & (digits[stop - 1] & 32 == 0)
    if good.all():
        begin = np.asarray(np.searchsorted(last, start))  # first number of every mask
        good = np.maximum.reduceat(length, begin) <= _DIGITS
    if not good.all():
        totals = np.full(len(counts), -1, np.int64)
        if good.any():
            totals[good] = _totals([text for text, is_good in zip(counts, good) if is_good])
        return totals
    runs = _runs(_numbers(digits, last, length), begin)
    return np.where(np.minimum.reduceat(runs, begin) < 0, -1, np.add.reduceat(runs, begin))


def _numbers(digits: np.ndarray, last: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the numbers that end with the digits at ``last``."""
    first = last - length + 1
    numbers = (digits[first] & 31).astype(np.int64)
    for place in range(1, int(length.max())):
        longer = np.flatnonzero(length > place)
        numbers[longer] |= (digits[first[longer] + place] & 31).astype(np.int64) << (5 * place)
    negative = np.flatnonzero(digits[last] & 16)
    numbers[negative] -= np.left_shift(np.int64(1), 5 * length[negative])
    return numbers


def _runs(numbers: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Return the run lengths, those of every mask in the place of its numbers: second, fourth, ..., first, ..."""
    amount = _amounts(begin, numbers.size)
    even = begin + amount // 2  # where the first, ... go
    own = np.repeat(begin, amount)
    rank = np.arange(numbers.size) - own
    place = own + (rank >> 1) + np.where(rank & 1, 0, np.repeat(amount // 2, amount))
    arranged = np.empty_like(numbers)
    arranged[place] = numbers
    head = arranged[even]
    arranged[even] = 0  # the third run is no difference to the first
    ends = np.stack([begin, even], axis=1).ravel()
    sums = np.cumsum(arranged)
    runs = sums - np.repeat(sums[ends] - arranged[ends], _amounts(ends, numbers.size))
    runs[even] = head
    return runs


def _amounts(begin: np.ndarray, total: int) -> np.ndarray:
    """Return how many there are from each begin to the next."""
    amounts = np.empty_like(begin)
    amounts[:-1] = begin[1:]
    amounts[-1] = total
    return amounts - begin


def _by(size: Any) -> str:
    return "x".join(map(str, size))
