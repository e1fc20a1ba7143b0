"""Settings of Detectron2 that this engine supports only in part: ``builtin`` of a setting lists the values."""

from __future__ import annotations

from collections.abc import Collection

from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError
from unseg_d2.settings import all_settings, look_up

TRAINING = {
    "MODEL.RPN.BOUNDARY_THRESH",
    "MODEL.RPN.BBOX_REG_LOSS_TYPE",
    "MODEL.ROI_HEADS.IOU_LABELS",
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE",
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES",
    "SOLVER.LR_SCHEDULER_NAME",
    "SOLVER.WARMUP_METHOD",
}
"""Keys that matter in training only."""


def network_limits() -> set[str]:
    """Return the keys of the network for which this engine supports only some values."""
    return {key for key, known in all_settings() if known.builtin} - TRAINING


def check_network(cfg: CfgNode) -> None:
    """Raise `UnsegError` if ``MODEL`` asks for something that this engine does not support."""
    _check(cfg, network_limits())


def check_training(cfg: CfgNode) -> None:
    """Raise `UnsegError` if a recipe asks for a way of training that this engine does not support."""
    _check(cfg, TRAINING)


def _check(cfg: CfgNode, keys: Collection[str]) -> None:
    for key, known in all_settings():
        value = look_up(cfg, key)
        if key in keys and value not in known.builtin:
            possible = " or ".join(repr(choice) for choice in known.builtin)
            raise UnsegError(
                f"{key} is {value!r}, but the built-in engine supports only {possible}; use ENGINE detectron2 for it."
            )
