"""A recipe whose network is small enough to train in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg

RECIPE = Path(__file__).resolve().parents[3] / "configs" / "base_cascade_mask_rcnn_R_50_FPN.yaml"
SMALL = {
    "MODEL.DEVICE": "cpu",
    "MODEL.RESNETS.DEPTH": 18,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 200,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 100,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 100,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 50,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "INPUT.MIN_SIZE_TRAIN": (96,),
    "INPUT.MAX_SIZE_TRAIN": 160,
    "INPUT.MIN_SIZE_TEST": 96,
    "INPUT.MAX_SIZE_TEST": 160,
    "DATALOADER.NUM_WORKERS": 0,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.BASE_LR": 0.01,
    "SOLVER.WARMUP_ITERS": 2,
    "SOLVER.STEPS": (),
    "SEED": 7,
}


@pytest.fixture
def small_recipe() -> Callable[..., CfgNode]:
    """Return ``make(**overrides)``: a frozen recipe; dots in keys are written as double underscores."""

    def make(**overrides: Any) -> CfgNode:
        values = {**SMALL, **{key.replace("__", "."): value for key, value in overrides.items()}}
        return load_cfg(RECIPE, [text for key, value in values.items() for text in (key, str(value))])

    return make
