"""Files that are no pictures, or none that is read: each is named for what it is, and none is waited for."""

from __future__ import annotations

import os
import socket
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from unseg_d2.content import content_of
from unseg_d2.data.images import ImageProblem, list_images, pil_to_rgb, read_image, scan_folder
from unseg_d2.data.pictures.decode import read_picture
from unseg_d2.data.pictures.formats import readable_formats
from unseg_d2.data.pictures.reading import Reading
from unseg_d2.data.pictures.report import Treatments
from unseg_d2.data.pictures.stored import read_grey, read_stored, shown_size, stored_size
from unseg_d2.errors import UnsegError

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 10\n%%EndComments\nshowpage\n"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40


@pytest.fixture
def no_heif(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    readable_formats.cache_clear()
    yield
    readable_formats.cache_clear()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (EPS, "EPS is not read; convert it to PNG or TIFF"),
        (HEIC, r"HEIC; install pillow-heif: pip install 'unseg-d2\[heic\]'"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 40, "a video, not an image"),
        (b"%PDF-1.7\n", "PDF is not read"),
        (b"8BPS\0\1" + b"\0" * 40, "PSD"),
        (b"\0" * 128 + b"DICM" + b"\0" * 40, "DICOM is not read"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "a web page, not an image"),
        (b'<?xml version="1.0"?>\n<svg></svg>', "an XML file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
        (b"\x93NUMPY\x01\0", "a NumPy array is not read"),
        (b"RIFF\x10\0\0\0WAVEfmt " + b"\0" * 40, "not an image"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "truncated|damaged"),
        (b"II*\0\x08\0\0\0", "truncated or damaged header"),
    ],
)
@pytest.mark.parametrize("name", ["photo.jpg", "photo"])
@pytest.mark.usefixtures("no_heif")
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageProblem, match=reason):
        read_image(tmp_path / name)


def test_ghostscript_is_never_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    for name in ("photo.jpg", "photo.eps", "photo"):
        (tmp_path / name).write_bytes(EPS)
        for read in (read_image, read_stored, read_grey, stored_size, shown_size):
            with pytest.raises(ImageProblem, match="EPS is not read"):
                read(tmp_path / name)
    assert [image.file_name for image in scan_folder(tmp_path).images] == ["photo.jpg"]
    with Image.open(tmp_path / "photo.eps") as opened, pytest.raises(ImageProblem, match="EPS is not read"):
        pil_to_rgb(opened)


def test_a_folder_of_iphone_photos_lists_them(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(HEIC)
    (tmp_path / "IMG_2.heic").write_bytes(HEIC)
    assert len(list_images(tmp_path)) == 2


def test_a_folder_without_images_says_what_its_files_are(tmp_path: Path) -> None:
    (tmp_path / "plan.eps").write_bytes(EPS)
    with pytest.raises(UnsegError, match=r"none of its 1 files is one \(plan.eps: EPS is not read; convert it"):
        list_images(tmp_path)


def test_pillow_heif_is_used_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    plugin = types.SimpleNamespace(register_heif_opener=lambda: called.append(1))
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    readable_formats.cache_clear()
    assert "HEIF" in readable_formats() and called == [1] and "EPS" not in readable_formats()
    readable_formats.cache_clear()


@pytest.fixture
def heic(tmp_path: Path) -> Callable[[int], Path]:
    """Writes a photo of 80 x 60 pixels with red, green, blue and black quarters, as a phone does."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    if not pillow_heif.libheif_info()["encoders"]:
        pytest.skip("this pillow-heif cannot write HEIC")
    readable_formats()

    def write(orientation: int = 1) -> Path:
        image = Image.new("RGB", (80, 60))
        for colour, corner in (("red", (0, 0)), ("lime", (40, 0)), ("blue", (0, 30))):
            image.paste(colour, (*corner, corner[0] + 40, corner[1] + 30))
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"IMG_{orientation}.HEIC"
        image.save(path, format="HEIF", quality=95, exif=exif.tobytes())
        assert path.read_bytes()[4:12] == b"ftypheic"
        return path

    return write


QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 0, 0]]])


def quarters(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return pixels[height // 4 :: height // 2, width // 4 :: width // 2].astype(int)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_heic_photo_is_read_upright(heic, orientation: int, turns: int) -> None:
    """The format turns itself, so that INPUT.EXIF ignore changes nothing, which is said."""
    path = heic(orientation)
    for exif in ("apply", "ignore"):
        picture = read_picture(path, Reading(exif=exif))
        np.testing.assert_allclose(quarters(picture.pixels), np.rot90(QUARTERS, turns), atol=40)
        assert picture.treatment == ({"upright": True} if exif == "ignore" and turns else {})
    assert shown_size(path) == picture.pixels.shape[:2] == ((60, 80) if turns % 2 == 0 else (80, 60))
    if turns:
        assert Treatments([picture.treatment]).lines() == [
            "1 picture of HEIC turned as their format demands; INPUT.EXIF ignore changes nothing there."
        ]


def test_a_heic_photo_with_the_ending_of_another_format_is_read(heic, tmp_path: Path) -> None:
    path = heic().rename(tmp_path / "IMG_2.jpg")
    assert [image.file_name for image in list_images(tmp_path)] == ["IMG_2.jpg"]
    np.testing.assert_allclose(quarters(read_image(path)), QUARTERS, atol=40)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.97])
def test_a_cut_heic_photo_is_a_problem(heic, kept: float) -> None:
    path = heic()
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ImageProblem, match=r"damaged|truncated"):
        read_image(path)


def test_fifos_sockets_and_devices_are_refused_before_they_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "without_ending")
    Image.new("RGB", (20, 10)).save(tmp_path / "b.png")
    folder = scan_folder(tmp_path)
    assert [image.file_name for image in folder.images] == ["a.jpg", "b.png"]
    assert list(folder.others.problems()) == [("without_ending", "a FIFO, not a file")]
    assert content_of(tmp_path / "a.jpg") is None
    for read in (read_image, read_stored, read_grey, stored_size, shown_size):
        with pytest.raises(ImageProblem, match="a FIFO, not a file"):
            read(tmp_path / "a.jpg")
    with pytest.raises(ImageProblem, match="a device, not a file"):
        read_image("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        server.bind("s.jpg")
        with pytest.raises(ImageProblem, match="a socket, not a file"):
            read_image(tmp_path / "s.jpg")


@pytest.mark.parametrize("error", [SyntaxError("x"), ValueError("x"), OSError("x"), KeyError("x"), IndexError("x")])
def test_whatever_pillow_raises_is_one_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    for read in (read_image, read_stored, read_grey, stored_size, shown_size):
        with pytest.raises(ImageProblem, match="damaged: "):
            read(tmp_path / "a.png")
