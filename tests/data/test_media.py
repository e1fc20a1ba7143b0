"""Inputs of the command line, and frames of videos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.images import ImageProblem
from unseg_d2.data.media import extract_frames, list_media
from unseg_d2.errors import UnsegError


def write_video(path: Path, frames: int = 5, size: tuple[int, int] = (64, 48)) -> Path:
    """Frames of rising brightness, 10 a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, size)
    if not writer.isOpened():
        pytest.skip("OpenCV has no video encoder here")
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), 40 * number + 10, np.uint8))
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "a.jpg", "deep/c.png"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    (tmp_path / "film.MP4").write_bytes(b"no film")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "plan").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    return tmp_path


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_a_folder(folder):
    media = list_media([str(folder)])
    assert names(media.images, folder) == ["a.jpg", "b.png", "deep/c.png"]
    assert names(media.videos, folder) == ["film.MP4"]
    assert media.others == {folder / "plan": "EPS is not read; convert it to PNG or TIFF"}


def test_files_and_patterns_each_once_in_their_order(folder, monkeypatch):
    monkeypatch.chdir(folder)
    media = list_media(["deep/c.png", "**/*.png", "./film.MP4"])
    assert names(media.images, folder) == ["deep/c.png", "b.png"]
    assert names(media.videos, folder) == ["film.MP4"]


def test_a_file_whose_name_looks_like_a_pattern(folder):
    Image.new("RGB", (8, 6)).save(folder / "x[1].png")
    assert names(list_media([str(folder / "x[1].png")]).images, folder) == ["x[1].png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("missing.png", "There is no file or folder missing.png"), ("*.tif", r"No file matches \*.tif")],
)
def test_nothing_there(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsegError, match=message):
        list_media([text])
    with pytest.raises(UnsegError, match="no image or video in"):
        list_media(["."])


def test_frames(tmp_path):
    frames = extract_frames(write_video(tmp_path / "film.avi"), tmp_path / "frames")
    assert [file.name for file in frames.files] == [f"{number:06d}.jpg" for number in range(1, 6)]
    assert frames.rate == pytest.approx(10.0)
    brightness = [np.asarray(Image.open(file)).mean() for file in frames.files]
    np.testing.assert_allclose(brightness, [10, 50, 90, 130, 170], atol=6)


def test_every_second_frame(tmp_path):
    frames = extract_frames(write_video(tmp_path / "film.avi"), tmp_path / "frames", step=2)
    assert [file.name for file in frames.files] == ["000001.jpg", "000003.jpg", "000005.jpg"]
    assert frames.rate == pytest.approx(5.0)


def test_no_video(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no film")
    with pytest.raises(ImageProblem, match="not a video"):
        extract_frames(tmp_path / "film.mp4", tmp_path / "frames")


def test_the_own_output_below_a_folder_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "out" / "overlays").mkdir(parents=True)
    for name in ("a.png", "out/overlays/a.png.jpg", "out/film.mp4", "out/notes.txt"):
        (tmp_path / name).touch()
    media = list_media([str(tmp_path)], without=tmp_path / "out")
    assert (media.images, media.videos, media.others) == ([tmp_path / "a.png"], [], {})
    below = list_media([str(tmp_path / "out" / "overlays")], without=tmp_path / "out")  # the output holds the input
    assert [path.name for path in below.images] == ["a.png.jpg"]
