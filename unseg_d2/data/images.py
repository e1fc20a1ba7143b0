"""Read and list images; whatever is wrong with a file is reported as one clear reason.

Shape legend
    H, W   height and width in pixels, after the camera's orientation has been applied
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from unseg_d2.errors import UnsegError

MAX_PIXELS = 178956970
"""Images with more pixels are refused; Pillow's own limit for decompression bombs."""

MIN_SIDE = 2
"""Images with a shorter side have no content to segment."""

EXTENSIONS = {
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
}
"""Files with these extensions count as images without being opened; others are opened to find out."""

SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM")
"""First bytes of the common formats: a file that has them but does not open is a damaged image."""


class ImageProblem(UnsegError):
    """The reason why one file cannot be used as an image."""


@dataclass(frozen=True)
class ImageFile:
    """An image on disk.

    Attributes:
        path: of the file.
        file_name: its path relative to the root of the set, with forward slashes; unique in the set.
    """

    path: Path
    file_name: str


@dataclass(frozen=True)
class Folder:
    """What a folder holds, both lists sorted by ``file_name``.

    Attributes:
        images: files that look like images.
        others: ``file_name`` of every other file that is not hidden.
    """

    images: list[ImageFile]
    others: list[str]


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image as RGB.

    The EXIF orientation is applied, transparency is laid over white, 16-bit and float images are scaled to 8 bit, and
    of an animation the first frame is taken.

    Args:
        path: file to read.
        max_pixels: images with more pixels are refused before they are decoded.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ImageProblem: the file is missing, empty, truncated, not an image, too small or too large.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise ImageProblem("zero bytes")
        with _pixel_limit(None), Image.open(path) as image:
            return _decode(image, max_pixels)
    except ImageProblem:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise ImageProblem(_reason(error, path, max_pixels)) from None


def pil_to_rgb(image: Image.Image, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Convert a Pillow image of any mode as `read_image` does a file.

    Args:
        image: as Pillow opened or made it.
        max_pixels: images with more pixels are refused.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ImageProblem: the image is too small or too large, or its file, which Pillow reads on first use, is damaged.
    """
    try:
        return _decode(image, max_pixels)
    except ImageProblem:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise ImageProblem(_reason(error, Path(getattr(image, "filename", "") or "image"), max_pixels)) from None


def scan_folder(root: str | Path) -> Folder:
    """List the files below a folder, images and others apart.

    Sub-folders and links to folders are followed; names that start with a dot are left out.

    Raises:
        UnsegError: the folder does not exist.
    """
    root = Path(root)
    if not root.is_dir():
        raise UnsegError(f"There is no folder {root}.")
    images: list[ImageFile] = []
    others: list[str] = []
    for path in _files(root):
        file_name = path.relative_to(root).as_posix()
        if path.suffix.lower() in EXTENSIONS or _opens(path):
            images.append(ImageFile(path, file_name))
        else:
            others.append(file_name)
    return Folder(sorted(images, key=lambda image: image.file_name), sorted(others))


def list_images(root: str | Path) -> list[ImageFile]:
    """List the images below a folder, sorted by their path relative to it.

    Raises:
        UnsegError: the folder does not exist, or holds no image.
    """
    folder = scan_folder(root)
    if not folder.images:
        files = f"none of its {len(folder.others)} files is one" if folder.others else "it is empty"
        raise UnsegError(f"There is no image in {root}: {files}.")
    return folder.images


def _decode(image: Image.Image, max_pixels: int) -> np.ndarray:
    """Decode an image that Pillow has opened; returns ``(H, W, 3)`` uint8."""
    _check_size(image.size, max_pixels)
    with _pixel_limit(max_pixels):
        image.load()
    return _to_rgb(_upright(image))


@contextmanager
def _pixel_limit(max_pixels: int | None) -> Iterator[None]:
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


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if min(size) < MIN_SIDE:
        raise ImageProblem(f"{width}x{height} pixels: too small")
    if width * height > max_pixels:
        raise ImageProblem(f"{width}x{height} pixels: over the limit of {max_pixels} (PSEUDO.MAX_PIXELS)")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; an image with damaged EXIF data is accepted as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the EXIF parser raises nearly anything on damaged data
        return image


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Convert any mode of Pillow to ``(H, W, 3)`` uint8."""
    if image.mode.startswith(("I", "F")):
        grey = _to_8_bit(np.asarray(image), sixteen_bit=image.mode.startswith("I;16"))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _to_8_bit(values: np.ndarray, *, sixteen_bit: bool) -> np.ndarray:
    """Scale grey values to uint8 by the smallest range that holds them: [0, 1], 8 bit, 16 bit, their maximum."""
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
    largest = float(values.max())
    if sixteen_bit or 255 < largest <= 65535:
        values = values / 257
    elif largest > 65535:
        values = values * (255 / largest)
    elif largest <= 1:
        values = values * 255
    return np.rint(values).astype(np.uint8)


def _reason(error: Exception, path: Path, max_pixels: int) -> str:
    """Say in a few words what a decoder's exception means for the user."""
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"over the limit of {max_pixels} pixels (PSEUDO.MAX_PIXELS)"
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    if isinstance(error, IsADirectoryError):
        return "a folder, not a file"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    if isinstance(error, Image.UnidentifiedImageError):
        with path.open("rb") as file:
            return "truncated or damaged header" if file.read(4).startswith(SIGNATURES) else "not an image"
    detail = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, EOFError) or "truncated" in detail.lower():
        return "truncated"
    return f"damaged: {detail}"


def _files(root: Path) -> Iterator[Path]:
    """Yield the files below a folder; links are followed, except back to a folder above."""
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder) + os.sep
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not real.startswith(os.path.realpath(os.path.join(folder, name)) + os.sep)
        ]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _opens(path: Path) -> bool:
    """Return whether Pillow recognises the first bytes of a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(path).close()
        return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # Pillow's decoders raise nearly anything on damaged files
        return False
