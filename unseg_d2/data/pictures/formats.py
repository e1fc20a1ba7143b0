"""The formats that are read, by Pillow's names, and what other files are, by their first bytes."""

from __future__ import annotations

import functools
import importlib
import os
import stat
from pathlib import Path

from PIL import Image

from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.storage.access import StoredFile

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "DIB", "JPEG2000", "PPM", "AVIF", "TGA")
"""Pillow tries these alone. Its others run programs (EPS), are drawings, or are unknown to photographers."""

EXTENSIONS = {
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg"),
    *(".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
}
"""Files with these extensions count as images without being opened; others are opened to find out."""

_CONVERT = "is not read; convert it to PNG or TIFF"
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"%!PS", f"EPS {_CONVERT}"),
    (b"\xc5\xd0\xd3\xc6", f"EPS {_CONVERT}"),
    (b"%PDF", f"PDF {_CONVERT}"),
    (b"8BPS", f"PSD (Photoshop) {_CONVERT}"),
    (b"SIMPLE  =", f"FITS {_CONVERT}"),
    (b"\x76\x2f\x31\x01", f"OpenEXR {_CONVERT}"),
    (b"#?RADIANCE", f"Radiance HDR {_CONVERT}"),
    (b"\xff\x0a", f"JPEG XL {_CONVERT}"),
    (b"\0\0\0\x0cJXL ", f"JPEG XL {_CONVERT}"),
    (b"\0\0\1\0", f"ICO (an icon) {_CONVERT}"),
    (b"DDS ", f"DDS {_CONVERT}"),
    (b"\x89HDF", f"HDF5 or NetCDF {_CONVERT}"),
    (b"CDF", f"NetCDF {_CONVERT}"),
    (b"\x93NUMPY", f"a NumPy array {_CONVERT}"),
    (b"FUJIFILM", f"a camera's raw file {_CONVERT}"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with git lfs pull"),
    (b"<svg", f"SVG {_CONVERT}"),
    (b"<?xml", "an XML file, not an image"),
    (b"<!doctype html", "a web page, not an image; was the download refused?"),
    (b"<html", "a web page, not an image; was the download refused?"),
    (b"PK\x03\x04", "a ZIP archive, not an image; unpack it"),
    (b"\x1f\x8b", "a gzip archive, not an image; unpack it"),
    (b"Rar!", "a RAR archive, not an image; unpack it"),
    (b"7z\xbc\xaf", "a 7-Zip archive, not an image; unpack it"),
)
_KNOWN = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
"""First bytes of formats that are read: a file that has them but does not open is damaged."""
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"hevx")
A_VIDEO = "a video, not an image"
DAMAGED = "truncated or damaged header"
"""What is said of a picture of a format that is read, and that does not open."""
NO_IMAGE = "not an image"
"""What is said of a file that nothing is known of."""
INSTALL_HEIF = "install pillow-heif: pip install 'unseg-d2[heic]'"


def check_regular(file: StoredFile) -> None:
    """Refuse what would block or never end when it is opened.

    Raises:
        ImageProblem: it is a FIFO, a socket, a device or a folder; ``OSError`` where there is no file.
    """
    if not file.is_on_disk:
        return
    mode = file.path.stat().st_mode
    for is_kind, name in (
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISDIR, "a folder"),
    ):
        if is_kind(mode):
            raise ImageProblem(f"{name}, not a file")


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """Return the formats that Pillow may try: HEIF joins them where pillow-heif is installed."""
    Image.init()
    known = tuple(name for name in FORMATS if name in Image.OPEN)
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return known
    return (*known, "HEIF")


def what_it_is(file: StoredFile) -> str:
    """Say what a file is that Pillow does not open, and what to do about it."""
    with file.open() as opened:
        start = opened.read(256)
    if start[4:8] == b"ftyp":
        if start[8:12] in _HEIF:
            return (
                "HEIC that is damaged or that pillow-heif cannot read"
                if "HEIF" in readable_formats()
                else f"HEIC; {INSTALL_HEIF}"
            )
        if start[8:12] in (b"avif", b"avis"):
            return "damaged AVIF, or this Pillow is built without it"
        return A_VIDEO if start[8:12] != b"crx " else f"a camera's raw file {_CONVERT}"
    if start[128:132] == b"DICM":
        return f"DICOM {_CONVERT}"
    lowered = start.lstrip(b"\xef\xbb\xbf \r\n\t")
    for beginning, what in _BEGINNINGS:
        if start.startswith(beginning) or lowered.lower().startswith(beginning.lower()):
            return what
    known = start.startswith(_KNOWN) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
    return DAMAGED if known else NO_IMAGE


def why_no_image(path: Path) -> str:
    """Say what a file is that does not count as an image: ``a FIFO, not a file``, ``EPS is not read; ...``."""
    file = StoredFile(path)
    try:
        check_regular(file)
        return what_it_is(file)
    except ImageProblem as problem:
        return str(problem)
    except OSError:
        return NO_IMAGE


def describe_others(root: Path, names: list[str]) -> str:
    """Say what the first of some files is that are no images; empty where that says nothing."""
    for name in names[:20]:
        what = why_no_image(Path(os.path.join(root, name)))
        if what != NO_IMAGE:
            return f"{name}: {what}"
    return ""
