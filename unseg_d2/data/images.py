"""Read and list images; whatever is wrong with a file is reported as one clear reason.

Shape legend
    H, W   height and width in pixels, after the camera's orientation has been applied
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from unseg_d2.data.pictures.decode import pillow_picture, read_picture
from unseg_d2.data.pictures.formats import EXTENSIONS
from unseg_d2.data.pictures.reading import DEFAULT_READING, MAX_PIXELS, MIN_SIDE, ImageProblem, Reading
from unseg_d2.data.pictures.report import say_once
from unseg_d2.data.scan import Folder, ImageFile, list_images, scan_folder, scan_images

__all__ = [
    "EXTENSIONS",
    "MAX_PIXELS",
    "MIN_SIDE",
    "Folder",
    "ImageFile",
    "ImageProblem",
    "Reading",
    "list_images",
    "pil_to_rgb",
    "read_image",
    "scan_folder",
    "scan_images",
]


def read_image(path: str | Path, reading: Reading = DEFAULT_READING) -> np.ndarray:
    """Read an image as RGB.

    Transparency is laid over white, and of an animation the first frame is taken. Pictures of 8 bit keep their values,
    others are stretched; what is done to the first picture of a kind is logged.

    Args:
        path: file to read.
        reading: orientation, bands, values that become black and white, and the largest size.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ImageProblem: the file is missing, empty, truncated, not an image, too small or too large.
    """
    picture = read_picture(path, reading)
    say_once(Path(path), picture.treatment)
    return picture.pixels


def pil_to_rgb(image: Image.Image, reading: Reading = DEFAULT_READING) -> np.ndarray:
    """Convert a Pillow image of any mode as `read_image` does a file.

    Args:
        image: as Pillow opened or made it.
        reading: see `read_image`.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ImageProblem: the image is too small or too large, or its file, which Pillow reads on first use, is damaged.
    """
    return pillow_picture(image, reading).pixels
