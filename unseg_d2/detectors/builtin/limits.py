"""What Detectron2's configuration can ask for and this engine does not have."""

from __future__ import annotations

from fvcore.common.config import CfgNode

from unseg_d2.config.limits import check_limits
from unseg_d2.detectors.builtin.backbone import STAGES

NETWORK = {
    "MODEL.META_ARCHITECTURE": ["GeneralizedRCNN"],
    "MODEL.BACKBONE.NAME": ["build_resnet_fpn_backbone"],
    "MODEL.RESNETS.RES5_DILATION": [1],
    "MODEL.RESNETS.STEM_OUT_CHANNELS": [64],
    "MODEL.FPN.IN_FEATURES": [[*STAGES]],
    "MODEL.FPN.FUSE_TYPE": ["sum"],
    "MODEL.ANCHOR_GENERATOR.NAME": ["DefaultAnchorGenerator"],
    "MODEL.PROPOSAL_GENERATOR.NAME": ["RPN"],
    "MODEL.RPN.HEAD_NAME": ["StandardRPNHead"],
    "MODEL.RPN.CONV_DIMS": [[-1]],
    "MODEL.ROI_BOX_HEAD.NAME": ["FastRCNNConvFCHead", ""],
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ["ROIAlignV2"],
    "MODEL.ROI_BOX_HEAD.NUM_CONV": [0],
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": ["ROIAlignV2"],
}
TRAINING = {
    "MODEL.RPN.BOUNDARY_THRESH": [-1],
    "MODEL.RPN.BBOX_REG_LOSS_TYPE": ["smooth_l1"],
    "MODEL.ROI_HEADS.IOU_LABELS": [[0, 1]],
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": ["smooth_l1"],
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": [False],
    "SOLVER.LR_SCHEDULER_NAME": ["WarmupMultiStepLR"],
    "SOLVER.WARMUP_METHOD": ["linear", "constant"],
}
HINT = " with the built-in engine; ENGINE detectron2 leaves it to Detectron2"


def check_network(cfg: CfgNode) -> None:
    """Raise `UnsegError` if ``MODEL`` asks for a part that this engine does not have."""
    check_limits(cfg, NETWORK, HINT)


def check_training(cfg: CfgNode) -> None:
    """Raise `UnsegError` if a recipe asks for a way of training that this engine does not have."""
    check_limits(cfg, TRAINING, HINT)
