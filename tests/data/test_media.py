"""Inputs of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from unseg_d2.data.media import list_media
from unseg_d2.errors import UnsegError


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


def test_the_own_output_below_a_folder_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "out" / "overlays").mkdir(parents=True)
    for name in ("a.png", "out/overlays/a.png.jpg", "out/film.mp4", "out/notes.txt"):
        (tmp_path / name).touch()
    media = list_media([str(tmp_path)], without=tmp_path / "out")
    assert (media.images, media.videos, media.others) == ([tmp_path / "a.png"], [], {})
    below = list_media([str(tmp_path / "out" / "overlays")], without=tmp_path / "out")  # the output holds the input
    assert [path.name for path in below.images] == ["a.png.jpg"]
