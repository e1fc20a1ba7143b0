"""Masks as text: COCO run lengths, and spatial confidence as one byte per patch.

Shape legend
    H, W   height and width of an image in pixels
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError

Segmentation = dict[str, Any] | list[list[float]]  # RLE (counts as text or as a list of lengths) or polygons

_COUNTS = re.compile("(?:[P-o]{0,6}[0-O])+")  # numbers of up to seven digits, each ending with one below 32


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
            rle = mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
        elif isinstance(segmentation["counts"], list):
            rle = mask_utils.frPyObjects(segmentation, height, width)
        else:
            rle = segmentation
        counts = rle["counts"]
    except Exception as error:  # pycocotools raises the bare class too
        raise UnsegError(f"a mask is damaged: {error}.") from None
    return {**rle, "counts": counts.decode("ascii")} if isinstance(counts, bytes) else rle


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
        values = np.frombuffer(zlib.decompress(base64.b64decode(encoded["data"])), np.uint8)
        return values.reshape(encoded["size"])
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise UnsegError(f"a spatial confidence is damaged: {error}.") from None


def run_totals(counts: Sequence[str]) -> np.ndarray:
    """Sum the run lengths of compressed masks; pycocotools itself reads beyond the end where they are too short.

    Each number is base 32 in characters from '0' on, lowest digit first; bit 5 means "more follows" and bit 4 of the
    last digit is the sign. From the fourth on, a number is the difference to the one two before.

    Args:
        counts: texts of ``n`` masks.

    Returns:
        ``(n,)`` int64 pixels; -1 where the text does not hold run lengths.
    """
    totals = np.full(len(counts), -1, np.int64)
    valid = [index for index, text in enumerate(counts) if _COUNTS.fullmatch(text)]
    if not valid:
        return totals
    sizes = np.array([len(counts[index]) for index in valid])
    digits = np.frombuffer("".join(counts[index] for index in valid).encode(), np.uint8).astype(np.int64) - 48
    first = np.flatnonzero(np.r_[True, (digits[:-1] & 32) == 0])  # first digit of every number
    place = np.arange(digits.size) - np.repeat(first, np.diff(np.r_[first, digits.size]))
    sign = np.where(digits & 48 == 16, -(32 << (5 * place)), 0)
    numbers = np.add.reduceat(((digits & 31) << (5 * place)) + sign, first)
    start = np.searchsorted(first, np.r_[0, np.cumsum(sizes)[:-1]])  # first number of every mask
    length = np.diff(np.r_[start, numbers.size])
    rank = np.arange(numbers.size) - np.repeat(start, length)
    occurrences = (np.repeat(length, length) - 1 - rank) // 2 + 1  # a difference counts in every second run after it
    totals[valid] = np.add.reduceat(numbers * np.where(rank == 0, 1, occurrences), start)
    return totals


def _by(size: Any) -> str:
    return "x".join(map(str, size))
