"""Turn an image given as a path, a Pillow image or an array into an RGB array.

Shape legend
    H, W   height and width in pixels
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from unseg_d2.data.images import MIN_SIDE, ImageProblem, Reading, pil_to_rgb, read_image
from unseg_d2.data.pictures.reading import DEFAULT_READING
from unseg_d2.errors import UnsegError
from unseg_d2.storage.addresses import to_path

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray"
"""A path, a Pillow image, or an ``(H, W, 3)`` uint8 array in RGB."""


def as_rgb(image: ImageLike, reading: Reading = DEFAULT_READING) -> np.ndarray:
    """Return the pixels of an image.

    Args:
        image: a path, a Pillow image of any mode, or an ``(H, W, 3)`` uint8 array in RGB.
        reading: how files and Pillow images become RGB; arrays are taken as they are.

    Returns:
        ``(H, W, 3)`` uint8; an array is passed on and not copied.

    Raises:
        UnsegError: the file or the Pillow image cannot be used, or it is an array of another shape or type.
    """
    if isinstance(image, np.ndarray):
        _check_array(image)
        return image
    name = f"The image {os.fspath(image)}" if isinstance(image, (str, os.PathLike)) else "The Pillow image"
    try:
        if isinstance(image, Image.Image):
            return pil_to_rgb(image, reading)
        if isinstance(image, (str, os.PathLike)):
            return read_image(to_path(image), reading)
    except ImageProblem as problem:
        raise UnsegError(f"{name} cannot be used: {problem}.") from None
    raise UnsegError(f"An image is a path, a Pillow image or an (H, W, 3) uint8 array, not {_a(type(image).__name__)}.")


def as_list(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Return several images as they are, and a single one as a list of one."""
    return [images] if isinstance(images, (str, os.PathLike, Image.Image, np.ndarray)) else images


def _check_array(image: np.ndarray) -> None:
    """Raise UnsegError, with the remedy, unless an array is ``(H, W, 3)`` uint8 and large enough."""
    remedy = _remedy_of_shape(image.shape)
    if remedy:
        raise UnsegError(f"The image is an array of shape {image.shape}, but (H, W, 3) is needed: {remedy}.")
    if image.dtype != np.uint8:
        raise UnsegError(f"The image is an array of {image.dtype}, but uint8 is needed: {_remedy_of_type(image)}.")
    if min(image.shape[:2]) < MIN_SIDE:
        height, width = image.shape[:2]
        raise UnsegError(f"The image has {width}x{height} pixels, but at least {MIN_SIDE}x{MIN_SIDE} are needed.")


def _remedy_of_shape(shape: tuple[int, ...]) -> str:
    """Say how to turn an array of this shape into an image; empty if it is one."""
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
        return "repeat the grey channel, np.dstack([grey] * 3)"
    if len(shape) == 4:
        return "give the images of a batch as a list"
    if len(shape) != 3:
        return "height, width and the three channels of RGB"
    if shape[2] == 4:
        return "leave out the alpha channel, image[..., :3]"
    if shape[2] != 3 and shape[0] in (3, 4):
        return "put the channels last, image.transpose(1, 2, 0)"
    return "" if shape[2] == 3 else f"{shape[2]} channels are not RGB"


def _remedy_of_type(image: np.ndarray) -> str:
    if image.dtype.kind != "f":
        return "convert values from 0 to 255 with image.astype('uint8')"
    if not np.isfinite(image).all():
        return "it holds NaN or infinite values; replace them, then scale to [0, 255]"
    return "scale values in [0, 1] with (image * 255).round().astype('uint8')"


def _a(name: Any) -> str:
    return f"an {name}" if str(name)[0].lower() in "aeiou" else f"a {name}"
