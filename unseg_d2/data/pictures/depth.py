"""Colour of more than 8 bit that Pillow would cut to its upper byte: PNG, JPEG 2000 and PPM."""

from __future__ import annotations

import numpy as np
from PIL import Image

from unseg_d2.data.pictures.tiff import decode_unchanged
from unseg_d2.storage.access import StoredFile

_START_OF_CODESTREAM = b"\xff\x4f\xff\x51"
_TO_DEPTH = 42  # bytes from there to the depth of the first component


def deep_colour(file: StoredFile, image: Image.Image) -> np.ndarray | None:
    """Return the numbers of a colour picture of more than 8 bit, ``(H, W, 3 or 4)``, alpha last; ``None`` for others.

    Args:
        file: the picture.
        image: as Pillow opened it.
    """
    if image.mode not in ("RGB", "RGBA", "LA") or _bits(file, image.format) <= 8:
        return None
    values = decode_unchanged(file)
    fits = values is not None and values.dtype == np.uint16 and values.shape[:2] == image.size[::-1]
    return values if fits and values is not None and values.shape[2] >= 3 else None


def _bits(file: StoredFile, file_format: str | None) -> int:
    """Return the number of bits of a value that the header states; 8 where it is of no interest."""
    if file_format not in ("PNG", "JPEG2000", "PPM"):
        return 8
    with file.open() as opened:
        start = opened.read(4096)
    if file_format == "PNG":
        return start[24]
    if file_format == "JPEG2000":
        place = start.find(_START_OF_CODESTREAM) + _TO_DEPTH
        return (start[place] & 0x7F) + 1 if _TO_DEPTH <= place < len(start) else 8
    words = b" ".join(line.split(b"#")[0] for line in start.splitlines()).split()
    return int(words[3]).bit_length() if words[0] == b"P6" and len(words) > 3 and words[3].isdigit() else 8
