"""A tiny detector on disk, for the commands that need one."""

from __future__ import annotations

from pathlib import Path

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import save_checkpoint

BASE = Path(__file__).resolve().parents[2] / "configs" / "base_cascade_mask_rcnn_R_50_FPN.yaml"
TINY = f"""_BASE_: {BASE}
ENGINE: builtin
MODEL:
  DEVICE: cpu
  RESNETS: {{DEPTH: 18, RES2_OUT_CHANNELS: 64, NORM: BN}}
  FPN: {{NORM: "", OUT_CHANNELS: 32}}
  RPN: {{PRE_NMS_TOPK_TEST: 100, POST_NMS_TOPK_TEST: 50}}
  ROI_BOX_HEAD: {{FC_DIM: 64}}
  ROI_MASK_HEAD: {{CONV_DIM: 32}}
INPUT: {{MIN_SIZE_TEST: 96}}
TEST: {{DETECTIONS_PER_IMAGE: 5}}
DATALOADER: {{NUM_WORKERS: 0}}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """Arguments for a tiny detector of random weights that finds something in every image."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    model = build_model(load_cfg(tmp_path / "tiny.yaml"))
    save_checkpoint(tmp_path / "run" / "model_final.pth", model)
    return ["--config-file", str(tmp_path / "tiny.yaml"), "--weights", str(tmp_path / "run" / "model_final.pth")]
