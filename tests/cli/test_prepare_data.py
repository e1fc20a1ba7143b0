"""The command and the scripts that convert the benchmarks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unseg_d2.cli import prepare_data
from unseg_d2.data.prepare.sources import SOURCES
from unseg_d2.errors import UnsegError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", SOURCES)
def test_says_where_the_data_comes_from(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare_data.main([name, "--info", "--root", str(tmp_path)])
    printed = capsys.readouterr().out
    for word in ("data set", "download", "http", "licence", "layout", str(tmp_path)):
        assert word in printed
    assert not list(tmp_path.iterdir())


def test_coco20k_needs_its_list(tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match="--image-list FILE is needed"):
        prepare_data.main(["coco20k", "--root", str(tmp_path)])


def test_script(shared_data: Path, tmp_path: Path) -> None:
    """As a new user types it, below $DETECTRON2_DATASETS; then the one-line error of a mistake."""
    for name, folder in (("label_2", "label_2"), ("images", "image_2")):
        shutil.copytree(shared_data / "kitti_sample" / name, tmp_path / "kitti/training" / folder)
    command = [sys.executable, str(REPOSITORY / "datasets/prepare_kitti.py")]
    environment = {**os.environ, "DETECTRON2_DATASETS": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "3 images (0 without objects), 6 objects, 4 crowd regions" in done.stdout
    assert "protocol  All images of KITTI's object benchmark" in done.stdout
    shutil.rmtree(tmp_path / "kitti/training/label_2")
    failed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert failed.returncode == 2 and failed.stderr.startswith("error: There are no files")
    assert failed.stderr.count("\n") == 1
