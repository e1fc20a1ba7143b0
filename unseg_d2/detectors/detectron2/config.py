"""Translate a configuration of this project to Detectron2, and add its keys to a Detectron2 configuration."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode as Detectron2CfgNode
from detectron2.config import get_cfg as detectron2_defaults
from fvcore.common.config import CfgNode

from unseg_d2.config import get_cfg
from unseg_d2.detectors.detectron2 import roi_heads, uncertain  # noqa: F401  registers our heads
from unseg_d2.detectors.norms import available_norms
from unseg_d2.errors import UnsegError
from unseg_d2.loop.precision import mixed_precision
from unseg_d2.plugins import load_plugins

ROI_HEADS = {
    "CascadeROIHeads": "DropLossCascadeROIHeads",
    "CustomCascadeROIHeads": "DropLossCascadeROIHeads",
    "StandardROIHeads": "DropLossStandardROIHeads",
    "CustomStandardROIHeads": "DropLossStandardROIHeads",
}
MASK_HEADS = {
    "MaskRCNNConvUpsampleHead": "ConfidenceMaskHead",
    "CustomMaskRCNNConvUpsampleHead": "ConfidenceMaskHead",  # CuVLER's name
}


def add_unseg_config(cfg: CfgNode) -> None:
    """Add the keys of this project, and those that CutLER added, to a Detectron2 configuration, in place.

    Users of Detectron2 call this before ``merge_from_file`` in their own ``train_net.py``. Existing keys keep their
    values.

    Args:
        cfg: what ``detectron2.config.get_cfg()`` returns, which other projects may have extended.
    """
    _add_missing(cfg, get_cfg())


def to_detectron2(cfg: CfgNode) -> Detectron2CfgNode:
    """Return the Detectron2 configuration of a recipe of this project.

    All values are copied, except that ``MODEL.DEVICE: auto`` is resolved, RoI heads become those of this package, and
    mixed precision and synchronised BatchNorm, which need CUDA, are replaced on other devices. Detectron2's own
    rescaling (``SOLVER.REFERENCE_WORLD_SIZE``) is off because the recipe has been rescaled already.

    Args:
        cfg: recipe, which is not changed.

    Raises:
        UnsegError: a plug-in cannot be imported, or heads of another project would ignore a loss.
    """
    load_plugins(cfg.PLUGINS)  # their sections are among the defaults then; this may be a process of its own
    translated = detectron2_defaults()
    add_unseg_config(translated)
    translated.merge_from_other_cfg(cfg)
    translated.SOLVER.REFERENCE_WORLD_SIZE = 0
    translated.MODEL.ROI_HEADS.NAME = ROI_HEADS.get(cfg.MODEL.ROI_HEADS.NAME, cfg.MODEL.ROI_HEADS.NAME)
    translated.MODEL.ROI_MASK_HEAD.NAME = MASK_HEADS.get(cfg.MODEL.ROI_MASK_HEAD.NAME, cfg.MODEL.ROI_MASK_HEAD.NAME)
    _check_losses(translated)
    if cfg.MODEL.DEVICE == "auto":
        translated.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    _replace_unavailable(translated, torch.device(translated.MODEL.DEVICE))
    translated.freeze()
    return translated


def _add_missing(cfg: CfgNode, defaults: CfgNode) -> None:
    """Copy keys that are missing in ``cfg``, recursively."""
    for key, value in defaults.items():
        if key not in cfg:
            cfg[key] = Detectron2CfgNode(value.clone()) if isinstance(value, CfgNode) else value
        elif isinstance(value, CfgNode):
            _add_missing(cfg[key], value)


def _check_losses(cfg: Detectron2CfgNode) -> None:
    """Raise `UnsegError` where a recipe names a loss and heads that are not this package's."""
    for kind, node, known in (("CLASSIFICATION", "ROI_HEADS", ROI_HEADS), ("MASK", "ROI_MASK_HEAD", MASK_HEADS)):
        loss, heads = cfg.LOSSES[kind], cfg.MODEL[node].NAME
        if loss.lower() != "cross_entropy" and heads not in known.values():
            raise UnsegError(
                f"LOSSES.{kind} is {loss}, but MODEL.{node}.NAME {heads} does not know it; choose {', '.join(known)}."
            )


def _replace_unavailable(cfg: Detectron2CfgNode, device: torch.device) -> None:
    """Replace, in place, settings that need CUDA if the device is another one; the log says so."""
    cfg.SOLVER.AMP.ENABLED = mixed_precision(cfg, device)
    nodes = (cfg.MODEL.RESNETS, cfg.MODEL.FPN, cfg.MODEL.ROI_MASK_HEAD, cfg.MODEL.ROI_BOX_HEAD)
    for node, norm in zip(nodes, available_norms(device, *(node.NORM for node in nodes))):
        node.NORM = norm
