"""Decode one picture to 8-bit RGB; whatever is wrong with it is one clear reason.

Shape legend
    H, W   height and width in pixels, after the camera's orientation has been applied
    b      bands: 1, 3, or 4 with alpha
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unseg_d2.data.pictures.depth import deep_colour
from unseg_d2.data.pictures.formats import check_regular, readable_formats, what_it_is
from unseg_d2.data.pictures.reading import DEFAULT_READING, MIN_SIDE, ImageProblem, Picture, Reading
from unseg_d2.data.pictures.stretch import Strip, strips, to_8_bit, used_range
from unseg_d2.data.pictures.tiff import Layout, layout, read_array
from unseg_d2.errors import UnsegError
from unseg_d2.storage.access import StoredFile, as_stored

_ORIENTATION = 0x0112
_BANDS_PER_PIXEL = 4  # picture of many bands may have this many numbers per pixel of the limit


def read_picture(file: str | Path | StoredFile, reading: Reading = DEFAULT_READING) -> Picture:
    """Read a file.

    Transparency is laid over white, and of an animation or a stack the first picture is taken. Pictures of 8 bit keep
    their values; others are stretched, see :class:`Reading`.

    Args:
        file: to read, wherever it is.
        reading: how.

    Raises:
        ImageProblem: the file is missing, empty, truncated, not an image, too small or too large.
        UnsegError: the archive that it is in is damaged, or the store does not answer.
    """
    file = as_stored(file)
    with one_reason(file, reading):
        check_regular(file)
        if file.size() == 0:
            raise ImageProblem("zero bytes")
        found = layout(file)
        if found is not None:
            check_size((found.width, found.height), reading, found.samples)
            if found.needs_array(reading.bands):
                values, alpha = read_array(file, found), found.alpha
                return _from_array(values, reading, found.orientation, alpha=alpha, tags=found)
        with pixel_limit(None), Image.open(file.source(), formats=readable_formats()) as image:
            check_size(image.size, reading)
            deep = deep_colour(file, image)
            if deep is not None:
                orientation = orientation_of(image)
                return _from_array(deep, reading, orientation, alpha=image.mode != "RGB")
            return _from_pillow(image, reading, found)


def pillow_picture(image: Image.Image, reading: Reading = DEFAULT_READING) -> Picture:
    """Convert a Pillow image of any mode as `read_picture` does a file.

    Args:
        image: as Pillow opened or made it.
        reading: how.

    Raises:
        ImageProblem: the image is too small or too large, or its file, which Pillow reads on first use, is damaged.
    """
    with one_reason(StoredFile(getattr(image, "filename", "") or "image"), reading):
        if image.format == "EPS":
            raise ImageProblem("EPS is not read; convert it to PNG or TIFF")  # it would run Ghostscript
        return _from_pillow(image, reading, None)


def _from_pillow(image: Image.Image, reading: Reading, tags: Layout | None) -> Picture:
    check_size(image.size, reading)
    treatment: dict[str, Any] = {}
    with pixel_limit(reading.max_pixels):
        image.load()
    orientation = tags.orientation if tags else orientation_of(image)
    done = tags is not None and orientation_of(image) == 1  # Pillow turns a TIFF while it loads it
    pages = _pages(image) if image.format == "TIFF" else 1
    if image.mode.startswith(("I", "F")):
        unsigned = tags is not None and tags.type == "uint32"
        pixels = _deep(_grey_strip(image, unsigned, reading, pages), image.size[::-1], reading, tags, treatment)
    elif reading.bands:
        pixels = _chosen(_bands_of(image), reading.bands)
    else:
        pixels = _rgb(image)
    if image.format == "HEIF" and reading.exif == "ignore" and image.info.get("original_orientation") in range(2, 9):
        treatment["upright"] = True
    if pages > 1 and not reading.bands:
        treatment["pages"] = pages
    if done and reading.exif == "ignore":
        pixels = _turn(pixels, {6: 8, 8: 6}.get(orientation, orientation))
    return _upright(pixels, orientation, reading, treatment, done=done)


def _from_array(
    values: np.ndarray, reading: Reading, orientation: int, *, alpha: bool, tags: Layout | None = None
) -> Picture:
    """Make a picture of numbers ``(H, W, S)``; the fourth is transparency where ``alpha`` says so."""
    treatment: dict[str, Any] = {}
    count = values.shape[2]
    if reading.bands:
        chosen, alpha = values[..., _indices(reading.bands, count)], False
    else:
        chosen = values[..., :3] if count >= 3 else values[..., :1]
        if count != chosen.shape[2] + alpha:
            treatment["bands"] = count
    if chosen.dtype == np.uint8:
        chosen = 255 - chosen if tags and tags.white_is_zero else chosen
        pixels = np.ascontiguousarray(np.broadcast_to(chosen, (*chosen.shape[:2], 3)))
    else:
        pixels = _deep(lambda top, bottom: chosen[top:bottom], chosen.shape[:2], reading, tags, treatment)
    if alpha:
        most = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
        share = values[..., 3:].astype(np.float32) / most
        pixels = np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)
    return _upright(pixels, orientation, reading, treatment)


def _deep(
    strip: Strip, size: tuple[int, int], reading: Reading, tags: Layout | None, treatment: dict[str, Any]
) -> np.ndarray:
    """Stretch numbers of more than 8 bit, and note how."""
    no_data = tags.no_data if tags else None
    window = reading.window or used_range(strip, *size, no_data)
    if window is None:
        raise ImageProblem("nothing was measured: all its values are NaN, infinite or the mark for no data")
    treatment["type"] = strip(0, 1).dtype.name
    treatment |= {"from": [float(value) for value in window], "window": bool(reading.window)}
    black, white = window[0], window[1]
    if tags and tags.white_is_zero:
        black, white = white, black
    return to_8_bit(strip, *size, (black, white), no_data)


def _grey_strip(image: Image.Image, unsigned: bool, reading: Reading, pages: int) -> Strip:
    """Return the rows of a picture of one deep band; bands that are asked for may be the pages of a stack."""

    def rows(top: int, bottom: int) -> np.ndarray:
        values = np.asarray(image.crop((0, top, image.width, bottom)))
        return values.view(np.uint32) if unsigned else values

    wanted = _indices(reading.bands, max(pages, 1)) if reading.bands else [0]
    if wanted == [0]:
        return rows
    stack = []
    for index in wanted:
        image.seek(index)
        stack.append(np.asarray(image))
    image.seek(0)
    return lambda top, bottom: np.stack([page[top:bottom] for page in stack], axis=-1)


def _pages(image: Image.Image) -> int:
    """Return the number of pages of one size; smaller ones are previews."""
    count = int(getattr(image, "n_frames", 1))
    if count == 1:
        return 1
    size = image.size
    try:
        image.seek(1)
        count = count if image.size == size else 1
    finally:
        image.seek(0)
        image.load()
    return count


def _rgb(image: Image.Image) -> np.ndarray:
    """Convert any mode of 8 bit to ``(H, W, 3)``, strip by strip: copies of the whole cost four bytes a pixel each."""
    transparent = image.has_transparency_data
    result = np.empty((image.height, image.width, 3), np.uint8)
    for top, bottom in strips(image.height, image.width):
        part = image if bottom - top == image.height else image.crop((0, top, image.width, bottom))
        if transparent:
            part = part.convert("RGBA")
            part = Image.alpha_composite(Image.new("RGBA", part.size, "white"), part)
        result[top:bottom] = np.asarray(part if part.mode == "RGB" else part.convert("RGB"))
    return result


def _bands_of(image: Image.Image) -> np.ndarray:
    """Return the bands ``(H, W, S)`` of a picture of 8 bit as they are stored; a palette is applied."""
    plain = image if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") else image.convert("RGB")
    values = np.asarray(plain)
    return values.reshape(*values.shape[:2], -1)


def _chosen(values: np.ndarray, bands: Sequence[int]) -> np.ndarray:
    chosen = values[..., _indices(bands, values.shape[2])]
    return np.ascontiguousarray(np.broadcast_to(chosen, (*chosen.shape[:2], 3)))


def _indices(bands: Sequence[int], count: int) -> list[int]:
    if max(bands) > count:
        has = "1 band" if count == 1 else f"{count} bands"
        raise ImageProblem(f"{has}, but INPUT.BANDS asks for band {max(bands)}")
    return [band - 1 for band in bands]


def _upright(
    pixels: np.ndarray, orientation: int, reading: Reading, treatment: dict[str, Any], *, done: bool = False
) -> Picture:
    """Apply the orientation, or note that it was not."""
    if orientation in range(2, 9):
        treatment["turned" if reading.exif == "apply" else "unturned"] = True
        if reading.exif == "apply" and not done:
            pixels = _turn(pixels, orientation)
    return Picture(pixels, treatment)


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels as an orientation of EXIF (tag 274) says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation; an image with damaged EXIF data is accepted as it is."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # the EXIF parser raises nearly anything on damaged data
        return 1


@contextmanager
def pixel_limit(max_pixels: int | None) -> Iterator[None]:
    """Make Pillow refuse larger images, and tiles larger than the header says; ``None`` means no limit."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def check_size(size: tuple[int, int], reading: Reading = DEFAULT_READING, samples: int = 1) -> None:
    """Raise ImageProblem where a picture is too small or too large for its width, height and numbers per pixel."""
    width, height = size
    if min(size) < MIN_SIDE:
        raise ImageProblem(f"{width}x{height} pixels: too small")
    if width * height > reading.max_pixels:
        raise ImageProblem(f"{width}x{height} pixels: over the limit of {reading.max_pixels} (INPUT.MAX_PIXELS)")
    if width * height * samples > _BANDS_PER_PIXEL * reading.max_pixels:
        raise ImageProblem(
            f"{width}x{height} pixels of {samples} bands: over {_BANDS_PER_PIXEL} times the limit of "
            f"{reading.max_pixels} (INPUT.MAX_PIXELS)"
        )


@contextmanager
def one_reason(file: StoredFile, reading: Reading = DEFAULT_READING) -> Iterator[None]:
    """Turn whatever a decoder raises into the reason why a file cannot be used.

    Memory that is full is no fault of a picture whose size is within the limit: a ``MemoryError`` passes. Nor is an
    archive that is damaged, or a store that does not answer.
    """
    try:
        yield
    except (UnsegError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise ImageProblem(_reason(error, file, reading.max_pixels)) from None


def _reason(error: Exception, file: StoredFile, max_pixels: int) -> str:
    """Say in a few words what a decoder's exception means for the user."""
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"over the limit of {max_pixels} pixels (INPUT.MAX_PIXELS)"
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "a symbolic link that leads to itself"
    if isinstance(error, Image.UnidentifiedImageError):
        return what_it_is(file)
    detail = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, EOFError) or "truncated" in detail.lower():
        return "truncated"
    return f"damaged: {detail}"
