"""What the built-in engine does not support is refused, not ignored; settings of training do not affect prediction."""

from __future__ import annotations

import pytest

from unseg_d2.detectors.builtin.limits import TRAINING, network_limits
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.builtin.train import Trainer
from unseg_d2.errors import UnsegError
from unseg_d2.plugins import load_plugins

OTHERS = {
    "MODEL.META_ARCHITECTURE": "RetinaNet",
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.RESNETS.OUT_FEATURES": ["res4"],
    "MODEL.RESNETS.RES5_DILATION": 2,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 32,
    "MODEL.FPN.IN_FEATURES": ["res3", "res4", "res5"],
    "MODEL.FPN.FUSE_TYPE": "avg",
    "MODEL.ANCHOR_GENERATOR.NAME": "RotatedAnchorGenerator",
    "MODEL.PROPOSAL_GENERATOR.NAME": "RRPN",
    "MODEL.RPN.HEAD_NAME": "MyHead",
    "MODEL.RPN.CONV_DIMS": [256, 256],
    "MODEL.ROI_BOX_HEAD.NAME": "MyHead",
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIPool",
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "ROIAlign",
    "MODEL.RPN.BOUNDARY_THRESH": 0,
    "MODEL.RPN.BBOX_REG_LOSS_TYPE": "giou",
    "MODEL.ROI_HEADS.IOU_LABELS": [0, -1],
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": "giou",
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": True,
    "SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR",
    "SOLVER.WARMUP_METHOD": "exponential",
}


def test_every_limit_is_tried():
    load_plugins()
    assert network_limits() | TRAINING == OTHERS.keys()


@pytest.mark.parametrize("key", sorted(OTHERS.keys() - TRAINING))
def test_parts_of_the_network(key, tiny_cfg):
    with pytest.raises(UnsegError, match=f"^{key} is .* the built-in engine supports only .*; use ENGINE detectron2"):
        build_model(tiny_cfg(**{key.replace(".", "__"): OTHERS[key]}))


@pytest.mark.parametrize("key", sorted(TRAINING))
def test_ways_of_training(key, tiny_cfg, tmp_path):
    cfg = tiny_cfg(OUTPUT_DIR=tmp_path, **{key.replace(".", "__"): OTHERS[key]})
    with pytest.raises(UnsegError, match=f"^{key} is .* the built-in engine supports only .*; use ENGINE detectron2"):
        Trainer(cfg, resume=False)
    build_model(cfg)
