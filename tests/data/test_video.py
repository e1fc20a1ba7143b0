"""Frames of videos that OpenCV and FFmpeg's own encoder wrote, and what is no video."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.images import ImageProblem
from unseg_d2.data.media import list_media
from unseg_d2.data.pictures.decode import read_picture
from unseg_d2.data.video import Film
from unseg_d2.errors import UnsegError

av = pytest.importorskip("av", reason="PyAV is not installed")


def write_avi(path: Path, frames: int = 5, size: tuple[int, int] = (64, 48)) -> Path:
    """Frames of rising brightness, 10 a second, by OpenCV."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, size)
    if not writer.isOpened():
        pytest.skip("OpenCV has no video encoder here")
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), 40 * (number % 6) + 10, np.uint8))
    writer.release()
    return path


def write_mp4(path: Path, times: list[Fraction], *, rotation: int = 0, sound: bool = False) -> Path:
    """Frames of 48x64 pixels whose upper left quarter is red, at the given times; by PyAV, not by our writer."""
    pixels = np.full((48, 64, 3), 128, np.uint8)
    pixels[:24, :32] = (255, 0, 0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 48, "yuv420p", Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        voice = container.add_stream("aac", rate=8000) if sound else None
        for time in times:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = int(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 8000
            container.mux([*voice.encode(silence), *voice.encode(None)])
    return path


def test_frames(tmp_path: Path) -> None:
    with Film(write_avi(tmp_path / "film.avi")) as film:
        frames = list(film)
        assert (film.rate, film.size, film.length, film.has_sound, film.damaged) == (10, (48, 64), 5, False, 0)
    assert [(frame.number, frame.time) for frame in frames] == [(k + 1, Fraction(k, 10)) for k in range(5)]
    assert all(frame.pixels.shape == (48, 64, 3) and frame.pixels.dtype == np.uint8 for frame in frames)
    np.testing.assert_allclose([frame.pixels.mean() for frame in frames], [10, 50, 90, 130, 170], atol=6)


def test_every_second_frame(tmp_path: Path) -> None:
    with Film(write_avi(tmp_path / "film.avi"), step=2) as film:
        assert [(frame.number, frame.time) for frame in film] == [(1, 0), (3, Fraction(1, 5)), (5, Fraction(2, 5))]


def test_only_the_frame_at_work_is_decoded(tmp_path: Path) -> None:
    """Of a long video the first frame is there before the rest was read."""
    path = write_avi(tmp_path / "film.avi", frames=400)
    with Film(path) as film:
        next(iter(film))
        assert film._file.tell() < path.stat().st_size / 2


def test_varying_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(1, 2), Fraction(3, 5), Fraction(2)]
    with Film(write_mp4(tmp_path / "film.mp4", times)) as film:
        assert [frame.time for frame in film] == times


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_is_applied(rotation: int, tmp_path: Path) -> None:
    """A phone held upright: the file says by how much its frames are to be turned."""
    path = write_mp4(tmp_path / "film.mp4", [Fraction(0), Fraction(1, 25)], rotation=rotation)
    with Film(path) as film:
        frame = next(iter(film))
    shown = cv2.VideoCapture(str(path)).read()[1][..., ::-1]  # OpenCV turns it too
    assert frame.pixels.shape == shown.shape == (film.size[0], film.size[1], 3)
    assert film.size == ((48, 64) if rotation % 180 == 0 else (64, 48))
    assert np.abs(frame.pixels.astype(int) - shown).mean() < 8


def test_sound_is_named(tmp_path: Path) -> None:
    with Film(write_mp4(tmp_path / "film.mp4", [Fraction(0), Fraction(1, 25)], sound=True)) as film:
        assert film.has_sound and len(list(film)) == 2


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.avi")
    os.rename(write_avi(tmp_path / "film.avi"), path)
    with Film(path) as film:
        assert len(list(film)) == 5


def test_a_title_that_is_no_text(tmp_path: Path) -> None:
    """Old cameras write titles in encodings of their own."""
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Sommerfest"
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    assert content.count(b"Sommerfest") == 1
    path.write_bytes(content.replace(b"Sommerfest", b"S\x80\xfcmerfest"))
    with Film(path) as film:
        assert len(list(film)) == 1


def test_a_cut_video_gives_the_frames_that_are_there(tmp_path: Path) -> None:
    path = write_avi(tmp_path / "film.avi", frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Film(path) as film:
        assert 5 < len(list(film)) < 40


def png(path: Path) -> None:
    Image.new("RGB", (32, 32)).save(path, format="PNG")


def playlist(path: Path) -> None:
    write_avi(path.parent / "other.avi")
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path.parent / 'other.avi'}\n#EXT-X-ENDLIST\n")


def concatenation(path: Path) -> None:
    write_avi(path.parent / "other.avi")
    path.write_text("ffconcat version 1.0\nfile other.avi\n")


def sound_alone(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux([*stream.encode(silence), *stream.encode(None)])


def no_frames(path: Path) -> None:
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b""), "zero bytes"),
        (lambda path: path.write_bytes(b"no film"), "not a video that can be read"),
        (lambda path: path.write_bytes(np.random.default_rng(0).bytes(9999)), "not a video that can be read"),
        (png, "not a video: a picture, whose ending should say so"),
        (playlist, "not a video that can be read"),
        (concatenation, "not a video that can be read"),
        (sound_alone, "no pictures in it, only sound or text"),
        (no_frames, "without a frame that can be decoded"),
        (os.mkfifo, "a FIFO, not a file"),
        (os.mkdir, "a folder, not a file"),
        (lambda path: None, "no such file"),
        (lambda path: os.rename(write_avi(path.parent / "a.avi", size=(16, 1)), path), "16 pixels|not a video|decoded"),
    ],
)
def test_what_is_no_video_is_one_reason(make, reason: str, tmp_path: Path) -> None:
    make(tmp_path / "film.mp4")
    with pytest.raises(ImageProblem, match=reason) as problem:
        Film(tmp_path / "film.mp4")
    assert "\n" not in str(problem.value) and str(tmp_path) not in str(problem.value)


def test_a_video_with_the_ending_of_a_picture(tmp_path: Path) -> None:
    os.rename(write_mp4(tmp_path / "film.mp4", [Fraction(0)]), tmp_path / "film.jpg")
    assert list_media([str(tmp_path)]).images == [tmp_path / "film.jpg"]
    with pytest.raises(ImageProblem, match="a video, not an image"):
        read_picture(tmp_path / "film.jpg")


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnsegError, match=r"'av' is not installed; install it with: pip install 'unseg-d2\[video\]'"):
        Film(write_avi(tmp_path / "film.avi"))
