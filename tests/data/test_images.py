"""Every kind of picture that turns up in a folder of photos, and every kind of file that is none."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.images import ImageProblem, Reading, list_images, read_image, scan_folder
from unseg_d2.errors import UnsegError

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def red_and_blue(width: int = 20, height: int = 10) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def assert_red_and_blue(pixels: np.ndarray, tolerance: int = 0) -> None:
    assert pixels.dtype == np.uint8 and pixels.shape == (10, 20, 3)
    assert np.abs(pixels[5, 2].astype(int) - RED).max() <= tolerance
    assert np.abs(pixels[5, 17].astype(int) - BLUE).max() <= tolerance


@pytest.mark.parametrize(
    ("mode", "name", "tolerance"),
    [("RGB", "a.png", 0), ("RGB", "a.jpg", 40), ("CMYK", "a.jpg", 40), ("CMYK", "a.tif", 0), ("P", "a.png", 0)],
)
def test_reads_colour_modes_as_rgb(tmp_path: Path, mode: str, name: str, tolerance: int) -> None:
    red_and_blue().convert(mode).save(tmp_path / name)
    assert_red_and_blue(read_image(tmp_path / name), tolerance)


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    image = red_and_blue().convert("RGBA")
    image.paste((0, 255, 0, 0), (0, 0, 20, 5))
    image.save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert tuple(pixels[2, 2]) == WHITE and tuple(pixels[7, 2]) == RED


@pytest.mark.parametrize(
    ("values", "suffix", "expected"),
    [
        (np.array([[0, 32896], [65535, 257]], np.uint16), ".png", [[0, 128], [255, 1]]),
        (np.array([[0, 32896], [65535, 257]], np.int32), ".tif", [[0, 128], [255, 1]]),
        (np.array([[0, 100], [255, 7]], np.int32), ".tif", [[0, 100], [255, 7]]),
        (np.array([[0, 0.2], [1, np.nan]], np.float32), ".tif", [[0, 51], [255, 0]]),
    ],
)
def test_deep_grey_is_scaled_to_8_bit(tmp_path: Path, values: np.ndarray, suffix: str, expected: list) -> None:
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    assert read_image(tmp_path / f"a{suffix}").tolist() == [[[v] * 3 for v in row] for row in expected]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the stored rows are columns
    red_and_blue().rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    assert_red_and_blue(read_image(tmp_path / "a.png"))


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), WHITE), Image.new("RGB", (20, 10), RED)]
    red_and_blue().save(tmp_path / "a.gif", save_all=True, append_images=frames)
    assert_red_and_blue(read_image(tmp_path / "a.gif"))


def png_header(width: int, height: int) -> bytes:
    """A PNG file that promises many pixels and holds none."""
    data = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 1000) + b"IDAT"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        (b"not an image at all", "not an image"),
        (png_header(100_000, 100_000), "over the limit"),
        (png_header(20_000, 5_000), "over the limit of 90000000"),
        (png_header(1, 1), "1x1 pixels: too small"),
        (png_header(20, 10), "truncated"),
        (png_header(20, 10)[:12], "truncated or damaged header"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageProblem, match=reason):
        read_image(tmp_path / "a.png", Reading(max_pixels=90_000_000))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif", ".webp", ".bmp"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"whole{suffix}")
    content = (tmp_path / f"whole{suffix}").read_bytes()
    (tmp_path / f"half{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageProblem, match=r"truncated|damaged|not an image"):
        read_image(tmp_path / f"half{suffix}")


def test_the_pixel_limit_can_be_raised_above_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    red_and_blue().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert_red_and_blue(read_image(tmp_path / "a.png", Reading(max_pixels=200)))
    assert Image.MAX_IMAGE_PIXELS == 10


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageProblem, match="does not exist"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ImageProblem, match="a folder"):
        read_image(tmp_path)


def test_lists_images_sorted_and_tells_the_rest_apart(tmp_path: Path) -> None:
    for name in ["b/1.png", "a/1.png", "a/deep/2.JPG", "c.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        red_and_blue().save(tmp_path / name)
    (tmp_path / "c.png").rename(tmp_path / "picture")  # no ending, but an image
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".DS_Store").write_text("hidden")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b" / "linked").symlink_to(tmp_path / "a" / "deep")
    folder = scan_folder(tmp_path)
    names = ["a/1.png", "a/deep/2.JPG", "b/1.png", "b/linked/2.JPG", "picture"]
    assert [image.file_name for image in folder.images] == names
    assert folder.others.line() == "1 other file is no picture (1 .txt)."
    assert list_images(tmp_path) == folder.images


def test_folders_without_images_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match="it is empty"):
        list_images(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UnsegError, match="none of its 1 files"):
        list_images(tmp_path)
    with pytest.raises(UnsegError, match="There is no folder"):
        list_images(tmp_path / "missing")


def test_a_folder_that_cannot_be_read_is_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(UnsegError, match=r"folder .*locked cannot be read: Permission denied"):
        scan_folder(tmp_path)
