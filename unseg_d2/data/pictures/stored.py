"""Pictures whose numbers are meant as they are stored: label maps, masks, depth; and the size of any picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from unseg_d2.data.pictures.decode import check_size, one_reason, orientation_of, pixel_limit
from unseg_d2.data.pictures.formats import check_regular, readable_formats
from unseg_d2.data.pictures.reading import MAX_PIXELS, ImageProblem
from unseg_d2.data.pictures.tiff import decode_unchanged, layout
from unseg_d2.storage.access import StoredFile


def stored_size(path: str | Path) -> tuple[int, int]:
    """Return height and width as the header gives them; nothing is decoded, no orientation is applied.

    Raises:
        ImageProblem: the file is missing or no image.
    """
    width, height, _ = header(path)
    return height, width


def shown_size(path: str | Path) -> tuple[int, int]:
    """Return height and width as a viewer shows the picture, by its header and orientation; nothing is decoded.

    Raises:
        ImageProblem: the file is missing or no image.
    """
    width, height, orientation = header(path)
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def header(path: str | Path) -> tuple[int, int, int]:
    """Return width, height and EXIF orientation of a picture as it is stored; nothing is decoded.

    Raises:
        ImageProblem: the file is missing or no image.
    """
    file = StoredFile(path)
    with one_reason(file):
        check_regular(file)
        found = layout(file)  # Pillow gives the size of a TIFF as it is turned
        if found is not None:
            return found.width, found.height, found.orientation
        with pixel_limit(None), Image.open(file.source(), formats=readable_formats()) as image:
            noted = image.format != "PNG" or "exif" in image.info  # in search of it, Pillow would decode a PNG
            return image.width, image.height, orientation_of(image) if noted else 1


def read_stored(path: str | Path) -> np.ndarray:
    """Return the numbers of a picture as they are stored, ``(H, W)`` or ``(H, W, bands)``; palettes are not applied.

    Raises:
        ImageProblem: the file is missing, damaged, no image, too small or too large.
    """
    with _opened(StoredFile(path)) as image:
        return np.array(image)


def read_grey(path: str | Path) -> np.ndarray:
    """Return the grey levels of a picture, ``(H, W)`` uint8, as it is stored.

    Raises:
        ImageProblem: see `read_stored`.
    """
    with _opened(StoredFile(path)) as image:
        return np.array(image.convert("L"))


def read_numbers(path: str | Path) -> np.ndarray:
    """Return the numbers of a picture of up to four bands of any depth, ``(H, W, bands)``, red first, alpha last.

    Raises:
        ImageProblem: see `read_stored`.
    """
    file = StoredFile(path)
    with _opened(file):
        pass
    values = decode_unchanged(file)
    if values is None:
        raise ImageProblem("damaged")
    return values


@contextmanager
def _opened(file: StoredFile) -> Iterator[Image.Image]:
    with one_reason(file):
        check_regular(file)
        if file.size() == 0:
            raise ImageProblem("zero bytes")
        with pixel_limit(None), Image.open(file.source(), formats=readable_formats()) as image:
            check_size(image.size)
            with pixel_limit(MAX_PIXELS):
                yield image
