"""A video is there and readable, or there is an error."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from unseg_d2.apps.video_file import VideoFile
from unseg_d2.data.video import Film

av = pytest.importorskip("av", reason="PyAV is not installed")

WRITE = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from unseg_d2.apps.video_file import VideoFile
from unseg_d2.errors import UnsegError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
rng = np.random.default_rng(0)
video = VideoFile(Path(sys.argv[1]), Fraction(25), (64, 96))
try:
    for number in range(40):
        video.write(rng.integers(0, 256, (64, 96, 3), np.uint8), Fraction(number, 25))
except UnsegError as error:
    print(error)
    video.close(complete=False)
else:
    try:
        video.close()
    except UnsegError as error:
        print(error)
"""
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (128, 128, 128))


def write(path: Path, size: tuple[int, int], times: list[Fraction], rate: Fraction = Fraction(10)) -> Path:
    video = VideoFile(path, rate, size)
    for time, colour in zip(times, COLOURS):
        video.write(np.full((*size, 3), colour, np.uint8), time)
    video.close()
    return path


@pytest.mark.parametrize("size", [(48, 64), (49, 65), (49, 64)])
def test_another_decoder_finds_the_frames(size: tuple[int, int], tmp_path: Path) -> None:
    path = write(tmp_path / "videos" / "a.mp4", size, [Fraction(k, 10) for k in range(4)])
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10) and capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    for colour in COLOURS:
        shown = capture.read()[1][..., ::-1].astype(int)
        assert shown.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
        assert np.abs(shown - colour).max() <= 12  # OpenCV converts colours coarsely
    assert os.listdir(tmp_path / "videos") == ["a.mp4"]


def test_browsers_play_it(tmp_path: Path) -> None:
    """H.264 in yuv420p with its colours named, and the index before the pictures, so that playing begins at once."""
    path = write(tmp_path / "a.mp4", (48, 64), [Fraction(k, 10) for k in range(4)])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, "mp4" in container.format.name) == ("h264", "yuv420p", True)
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, limited
        assert not container.streams.audio
    content = path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    path = write(folder / os.fsdecode(b"\xe9.mp4"), (48, 64), [Fraction(k, 10) for k in range(4)])
    with Film(path) as film:
        assert len(list(film)) == 4
    assert os.listdir(folder) == [path.name]


def test_times_are_kept(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(1, 2), Fraction(3, 5)]
    with Film(write(tmp_path / "a.mp4", (48, 64), times)) as film:
        frames = list(film)
    assert [frame.time for frame in frames] == times
    assert all(np.abs(frame.pixels.astype(int) - colour).max() <= 4 for frame, colour in zip(frames, COLOURS))


def test_the_rate_of_television_is_kept(tmp_path: Path) -> None:
    rate = Fraction(30000, 1001)
    with av.open(str(write(tmp_path / "a.mp4", (48, 64), [k / rate for k in range(4)], rate))) as container:
        assert container.streams.video[0].average_rate == rate


@pytest.mark.parametrize("room", [0, 20_000])
def test_a_file_that_does_not_fit_is_an_error(room: int, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: writing fails in the same way."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", WRITE, str(tmp_path / "a.mp4"), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "was not written" in done.stdout and "disk full" in done.stdout and done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "a.mp4", Fraction(10), (48, 64))
    video.write(np.zeros((48, 64, 3), np.uint8), Fraction(0))
    video.close(complete=False)
    assert os.listdir(tmp_path) == []
