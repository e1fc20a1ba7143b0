"""The Python code of README.md, run as it stands beside two photos and a checkpoint."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.config import load_cfg
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
SMALL = ["MODEL.FPN.OUT_CHANNELS", "32", "MODEL.ROI_BOX_HEAD.FC_DIM", "64", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.01"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the code names: photos of squares, and the folder of a training, here of a network that learnt nothing."""
    folder = tmp_path_factory.mktemp("readme")
    for name, left in {"photo.jpg": 16, "another.jpg": 60}.items():
        pixels = np.full((96, 128, 3), (40, 140, 60), np.uint8)
        pixels[24:72, left : left + 48] = (200, 30, 40)
        Image.fromarray(pixels).save(folder / name)
    cfg = load_cfg("configs/quickstart.yaml", ["ENGINE", "builtin", "MODEL.DEVICE", "cpu", *SMALL])
    save_checkpoint(folder / "runs" / "photos" / "model_final.pth", build_model(cfg))
    (folder / "runs" / "photos" / "config.yaml").write_text(cfg.dump())
    return folder


def run(code: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_block(folder: Path) -> None:
    more = """
assert masks and masks[0].mask.shape == (96, 128) and masks[0].mask.any()
assert len(predictions) == 2 and predictions[1].size == (96, 128)
assert picture.shape == (96, 128, 3) and len(annotations) == len(predictions[0])
"""
    assert "(96, 128)" in run(BLOCKS[0] + more, folder)


def test_the_notebook(folder: Path) -> None:
    *lines, last = BLOCKS[1].splitlines()
    code = "\n".join([*lines, f"picture = {last}", "print(picture.size)"])
    assert run(code, folder) == "(128, 96)\n"
    assert len(list(filter(None, BLOCKS[1].splitlines()))) <= 5


def test_there_is_no_other_python_code() -> None:
    assert len(BLOCKS) == 2
