from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.errors import UnsegError
from unseg_d2.semantic.proposals import cache_proposals, label_map, proposal_file, read_proposals

SIZE = (10, 10)


def halves(image: np.ndarray) -> np.ndarray:
    """Two masks: the left columns, as many as the image's value says, and everything."""
    masks = np.ones((2, *SIZE), dtype=bool)
    masks[0, :, image[0, 0, 0] :] = False
    return masks


def read(index: int) -> np.ndarray:
    return np.full((*SIZE, 3), index, dtype=np.uint8)


def test_a_pixel_of_several_masks_goes_to_the_best() -> None:
    masks = np.zeros((3, *SIZE), dtype=bool)
    masks[0, :4], masks[1, 2:6], masks[2, 0] = True, True, True
    labels = label_map(masks, SIZE)
    assert labels.dtype == np.uint8
    assert labels[:, 0].tolist() == [1, 1, 1, 1, 2, 2, 255, 255, 255, 255]
    assert (label_map(np.zeros((0, *SIZE), dtype=bool), SIZE) == 255).all()


def test_no_more_proposals_than_the_file_can_name() -> None:
    masks = np.eye(300, dtype=bool).reshape(300, 300, 1)
    labels = label_map(masks, (300, 1))
    assert labels.ravel().tolist() == [*range(1, 255), *[255] * 46]


def test_files_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    names = ["a/x", "b", "c"]
    assert cache_proposals(tmp_path, names[:2], read, halves, {"psi": 0.4}) == 2
    before = proposal_file(tmp_path, "b").stat().st_mtime_ns
    assert cache_proposals(tmp_path, names, read, halves, {"psi": 0.4}) == 1
    assert proposal_file(tmp_path, "b").stat().st_mtime_ns == before
    assert read_proposals(tmp_path, "c", SIZE)[0].tolist() == [1, 1, *[2] * 8]
    assert not list(tmp_path.rglob("*.tmp-*"))


def test_an_image_that_changed_gets_new_proposals(tmp_path: Path) -> None:
    """Of the same name and size in bytes; a note without a line, as earlier versions left them, is kept."""
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        file.write_bytes(bytes([3]))

    def read_file(index: int) -> np.ndarray:
        return np.full((*SIZE, 3), files[index].read_bytes()[0], dtype=np.uint8)

    def made() -> int:
        return cache_proposals(tmp_path / "maps", ["a", "b"], read_file, halves, {"images": str(tmp_path)}, files)

    assert made() == 2 and made() == 0
    files[1].write_bytes(bytes([5]))
    assert made() == 1 and made() == 0
    assert (read_proposals(tmp_path / "maps", "b", SIZE)[0] == 1).sum() == 5
    assert (read_proposals(tmp_path / "maps", "a", SIZE)[0] == 1).sum() == 3


def test_proposals_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    cache_proposals(tmp_path, ["a"], read, halves, {"psi": 0.4, "size": (3, 4)})
    cache_proposals(tmp_path, ["a"], read, halves, {"psi": 0.4, "size": (3, 4)})
    with pytest.raises(UnsegError, match=r"other settings: psi was 0.4, now 0.5\. Choose another SEMANTIC.PROPOSALS"):
        cache_proposals(tmp_path, ["a"], read, halves, {"psi": 0.5, "size": (3, 4)})


def test_masks_and_files_of_another_size_than_the_image(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(10, 10\) do not have the size of the image \(10, 11\)"):
        label_map(np.zeros((1, *SIZE), dtype=bool), (10, 11))
    cache_proposals(tmp_path, ["a"], read, halves, {})
    with pytest.raises(UnsegError, match="have 10x10 pixels, but the image is cut to 12x10"):
        read_proposals(tmp_path, "a", (10, 12))


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match="There are no proposals"):
        read_proposals(tmp_path, "a", SIZE)
    proposal_file(tmp_path, "a").write_bytes(b"half a picture")
    with pytest.raises(UnsegError, match="delete it, the same command makes it again"):
        read_proposals(tmp_path, "a", SIZE)
    Image.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(proposal_file(tmp_path, "b"))
    with pytest.raises(UnsegError, match="no 8-bit label map"):
        read_proposals(tmp_path, "b", SIZE)


SLOW = """
import sys, time
from pathlib import Path
import numpy as np
from unseg_d2.semantic.proposals import cache_proposals
def propose(image):
    time.sleep(0.05)
    return np.ones((1, 10, 10), bool)
read = lambda index: np.full((10, 10, 3), index, np.uint8)
cache_proposals(Path(sys.argv[1]), [str(i) for i in range(40)], read, propose, {})
"""


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.time() + 60
    while len(list(tmp_path.glob("[0-9]*.png"))) < 3 and time.time() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there = len(list(tmp_path.glob("[0-9]*.png")))
    assert 3 <= there < 40
    names = [str(index) for index in range(40)]
    assert cache_proposals(tmp_path, names, read, lambda image: np.ones((1, *SIZE), dtype=bool), {}) == 40 - there
    assert all((read_proposals(tmp_path, name, SIZE) == 1).all() for name in names)
