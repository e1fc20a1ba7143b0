"""The Python code of docs/deploy.md, run as it stands beside a photo, a checkpoint and what the command wrote of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.cli.parser import words_of
from unseg_d2.config import load_cfg
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
EXPORT = next(line for line in PAGE.splitlines() if line.startswith("unseg-d2 export"))


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)).save(tmp_path / "photo.jpg")
    options = ["ENGINE", "builtin", "MODEL.DEVICE", "cpu", "MODEL.FPN.OUT_CHANNELS", "32"]
    cfg = load_cfg("configs/quickstart.yaml", [*options, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.1"])
    save_checkpoint(tmp_path / "runs" / "photos" / "model_final.pth", build_model(cfg))
    (tmp_path / "runs" / "photos" / "config.yaml").write_text(cfg.dump())
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-m", "unseg_d2", *words_of(EXPORT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "instance segmentation" in done.stdout, done.stderr
    for code in BLOCKS:
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert len(BLOCKS) == 3
