"""A video is there and readable, or there is an error."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from unseg_d2.apps.video_file import VideoFile

WRITE = """
import resource, sys
from pathlib import Path
import numpy as np
from unseg_d2.apps.video_file import VideoFile
from unseg_d2.errors import UnsegError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
video = VideoFile(Path(sys.argv[1]), 25.0, (64, 96))
rng = np.random.default_rng(0)
for _ in range(40):
    video.write(rng.integers(0, 256, (64, 96, 3), np.uint8))
try:
    video.close()
except UnsegError as error:
    print(error)
"""


def test_frames_are_there(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "videos" / "a.mp4", 10.0, (48, 64))
    if not video.opened:
        pytest.skip("OpenCV has no encoder here")
    for value in (0, 100, 200):
        video.write(np.full((48, 64, 3), value, np.uint8))
    video.close()
    capture = cv2.VideoCapture(str(tmp_path / "videos" / "a.mp4"))
    assert [round(float(capture.read()[1].mean()), -1) for _ in range(3)] == [0, 100, 200]
    assert os.listdir(tmp_path / "videos") == ["a.mp4"]


@pytest.mark.parametrize("room", [0, 20_000])
def test_a_file_that_does_not_fit_is_an_error(room: int, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: writing fails in the same way."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", WRITE, str(tmp_path / "a.mp4"), str(room)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert ("was not written" in output and "disk full" in output) or (room == 0 and not output)
    assert os.listdir(tmp_path) == []


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "a.mp4", 10.0, (48, 64))
    video.write(np.zeros((48, 64, 3), np.uint8))
    video.close(complete=False)
    assert os.listdir(tmp_path) == []
