"""Which of Detectron2's registered heads are ours, and which are built for the names in a configuration."""

from __future__ import annotations

import logging
from typing import Any

from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import ROI_MASK_HEAD_REGISTRY
from detectron2.utils.registry import Registry
from fvcore.common.config import CfgNode
from torch import nn

from unseg_d2.detectors.detectron2.roi_heads import (
    DropLossCascadeROIHeads,
    DropLossRes5ROIHeads,
    DropLossStandardROIHeads,
    PseudoGroundTruthROIHeads,
)
from unseg_d2.detectors.detectron2.timm_fpn import use_our_backbone
from unseg_d2.detectors.detectron2.uncertain import ConfidenceMaskHead
from unseg_d2.detectors.heads import (
    COMPUTED_BY,
    MASK_HEAD,
    ROI_HEADS,
    SYNONYMS,
    asked,
    check_heads,
    no_effect,
    stock_name,
)
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.settings import look_up

REGISTRIES: dict[str, Registry] = {ROI_HEADS: ROI_HEADS_REGISTRY, MASK_HEAD: ROI_MASK_HEAD_REGISTRY}
KINDS: dict[str, type[nn.Module]] = {ROI_HEADS: PseudoGroundTruthROIHeads, MASK_HEAD: ConfidenceMaskHead}
"""Part of the network to the class that knows the keys of this package; so do its subclasses."""

OURS: dict[str, type[nn.Module]] = {
    "CascadeROIHeads": DropLossCascadeROIHeads,
    "StandardROIHeads": DropLossStandardROIHeads,
    "Res5ROIHeads": DropLossRes5ROIHeads,
    "MaskRCNNConvUpsampleHead": ConfidenceMaskHead,
}
"""Detectron2's name of heads to our subclass of them, which computes the same where no key of ours is on."""

logger = logging.getLogger(__name__)


def head_name(cfg: CfgNode, part: str) -> str:
    """Return the registered name of the heads to build.

    Detectron2's names, and those of published files, become ours. Where another project has registered heads under a
    published name, they stay unless a key of ours is on that they would ignore; the log says so then.

    Args:
        cfg: Detectron2 configuration with the keys of this package.
        part: ``MODEL.ROI_HEADS`` or ``MODEL.ROI_MASK_HEAD``.
    """
    name: str = look_up(cfg, part).NAME
    ours = OURS.get(stock_name(name))
    if ours is None or computes(part, name):
        return name
    if name in SYNONYMS and name in REGISTRIES[part]:
        on = [key for key, _ in asked(cfg) if part in COMPUTED_BY[key]]
        if not on:
            return name
        module = REGISTRIES[part].get(name).__module__
        logger.warning("%s %s of %s is built as %s, for %s.", part, name, module, ours.__name__, " and ".join(on))
    return ours.__name__


def computes(part: str, name: str) -> bool:
    """Return whether the heads of a name know the keys of this package."""
    heads: Any = REGISTRIES[part].get(name) if name in REGISTRIES[part] else None
    return isinstance(heads, type) and issubclass(heads, KINDS[part])


def use_our_heads(cfg: CfgNode) -> None:
    """Name the heads and the backbone to build, in place, and check that they compute what the configuration asks for.

    Args:
        cfg: Detectron2 configuration with the keys of this package.

    Raises:
        UnsegError: a key has no effect with the named heads, or no heads are registered under a name.
    """
    use_our_backbone(cfg)
    for part, registry in REGISTRIES.items():
        name = head_name(cfg, part)
        if name not in registry:
            known = [*(entry for entry, _ in registry), *SYNONYMS]
            raise UnsegError(
                f"{part}.NAME is {name}, but Detectron2 knows no heads of that name; import the module that "
                f"registers them, by PLUGINS or in your own code.{nearest(name, known)}"
            )
        look_up(cfg, part)["NAME"] = name
    check_heads(cfg, computes)


def check_network(model: nn.Module, cfg: CfgNode) -> None:
    """Refuse a network that does not use the heads that its configuration names.

    Args:
        model: what was built; only meta-architectures with RoI heads have any.
        cfg: its configuration.

    Raises:
        UnsegError: a key has no effect.
    """
    for key, value in asked(cfg):
        parts = [part for part in COMPUTED_BY[key] if part == ROI_HEADS or cfg.MODEL.MASK_ON]
        if not all(any(isinstance(module, KINDS[part]) for module in model.modules()) for part in parts):
            raise no_effect(key, value, type(model).__name__)
