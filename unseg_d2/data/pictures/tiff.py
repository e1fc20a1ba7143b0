"""TIFF files that Pillow cannot read, or of which it would read a part: many bands, 16-bit colour, 64-bit numbers.

Shape legend
    H, W   height and width of the picture as it is stored, in pixels
    S      samples per pixel: bands, with alpha where there is one
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import TiffImagePlugin

from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.storage.access import StoredFile

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES = 256, 257, 258, 262, 274, 277
_EXTRA, _FORMAT, _GDAL_NO_DATA = 338, 339, 42113
_WHITE_IS_ZERO, _RGB, _GREY, _PALETTE = 0, 2, (0, 1), 3
_KINDS = {1: "uint", 2: "int", 3: "float"}


@dataclass(frozen=True)
class Layout:
    """What the header of a TIFF file says of its first page.

    Attributes:
        width: W.
        height: H.
        samples: S.
        type: of a number, such as ``uint16``.
        rgb: whether the first three samples are red, green and blue.
        alpha: whether the fourth sample is transparency.
        grey: whether a sample is a measured value, no palette's index and no ink.
        white_is_zero: whether the least value is white and the greatest black, as in many X-rays.
        orientation: EXIF's number, 1 for upright.
        no_data: value that means that nothing was measured (GDAL's tag).
    """

    width: int
    height: int
    samples: int
    type: str
    rgb: bool
    alpha: bool
    grey: bool
    white_is_zero: bool
    orientation: int
    no_data: float | None

    def needs_array(self, bands: Sequence[int]) -> bool:
        """Return whether Pillow's picture would not hold what the file does, or not the bands that are wanted."""
        if self.type in ("uint16", "int16", "uint32", "int32", "float32"):
            return self.samples > 1 or self.white_is_zero  # of those, Pillow opens a few types only
        if self.type == "uint8":
            if self.rgb and self.samples > 4:
                return _has_tifffile() or any(band > 3 for band in bands)
            return self.samples > 2 and self.grey
        return self.type not in ("uint1", "uint2", "uint4")


def layout(file: StoredFile) -> Layout | None:
    """Return what the header says; ``None`` where the file is no TIFF.

    Raises:
        ImageProblem: its header is damaged.
    """
    with file.open() as opened:
        header = opened.read(8)
        if not header.startswith(_SIGNATURES):
            return None
        header += opened.read(8) if header[2:3] == b"+" or header[3:4] == b"+" else b""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tags = TiffImagePlugin.ImageFileDirectory_v2(header)
                opened.seek(tags.next)
                tags.load(opened)
            return _layout(tags)
        except Exception:  # the parser raises nearly anything on damaged files
            raise ImageProblem("truncated or damaged header") from None


def read_array(file: StoredFile, found: Layout) -> np.ndarray:
    """Read the first page as it is stored, ``(H, W, S)``, red first.

    Raises:
        ImageProblem: the file is damaged, or needs tifffile, which is not installed.
    """
    shape = (found.height, found.width, found.samples)
    if (found.samples in (3, 4) and found.rgb) or (found.samples == 1 and found.type != "float16"):
        values = decode_unchanged(file)
        if values is not None and values.shape == shape and str(values.dtype) == found.type:
            return values
    what = f"{found.samples} bands of {found.type}" if found.samples > 1 else f"a TIFF of {found.type}"
    if not _has_tifffile():
        raise ImageProblem(f"{what}; install tifffile: pip install 'unseg-d2[tiff]'")
    values = _with_tifffile(file, what)
    if values.shape != shape or values.dtype.kind not in "uif":
        raise ImageProblem(f"{what} are stored as {values.shape} {values.dtype}, which is not read")
    return values


def decode_unchanged(file: StoredFile) -> np.ndarray | None:
    """Read up to four bands with OpenCV as they are stored, ``(H, W, S)``, red first; ``None`` where that fails."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        values = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from None
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if values is None:
        return None
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[2] >= 3:
        values[..., [0, 2]] = values[..., [2, 0]]
    return values


def _with_tifffile(file: StoredFile, what: str) -> np.ndarray:
    import tifffile

    try:
        with tifffile.TiffFile(file.source()) as opened:
            page = opened.pages[0]
            values = page.asarray()
            if page.axes.startswith("S"):  # planes one after the other
                values = np.moveaxis(values, 0, -1)
    except Exception as error:  # damaged files make it raise nearly anything
        if "imagecodecs" in str(error):
            raise ImageProblem(f"{what}; its compression needs imagecodecs: pip install 'unseg-d2[tiff]'") from None
        raise ImageProblem(f"damaged: {' '.join(str(error).split()) or type(error).__name__}") from None
    return values.reshape(*values.shape[:2], -1)


def _layout(tags: Any) -> Layout:
    samples = int(tags.get(_SAMPLES, 1))
    photometric = tags.get(_PHOTOMETRIC, 1)
    kind = _KINDS.get((tags.get(_FORMAT) or (1,))[0], "other")
    extra = tags.get(_EXTRA) or ()
    return Layout(
        width=int(tags[_WIDTH]),
        height=int(tags[_HEIGHT]),
        samples=samples,
        type=f"{kind}{(tags.get(_BITS) or (1,))[0]}",
        rgb=photometric == _RGB and samples >= 3,
        alpha=photometric == _RGB and samples == 4 and (not extra or extra[0] in (1, 2)),
        grey=photometric in _GREY,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        orientation=int(tags.get(_ORIENTATION, 1)),
        no_data=_number(tags.get(_GDAL_NO_DATA)),
    )


def _number(text: Any) -> float | None:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None


def _has_tifffile() -> bool:
    return importlib.util.find_spec("tifffile") is not None
