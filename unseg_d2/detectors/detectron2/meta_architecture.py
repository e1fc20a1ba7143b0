"""What builds a network where a key of ours is on: Detectron2's own meta-architecture with our heads, checked."""

from __future__ import annotations

from detectron2.config import CfgNode as Detectron2CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from fvcore.common.config import CfgNode
from torch import nn

from unseg_d2.detectors.detectron2.heads import check_network, use_our_heads
from unseg_d2.detectors.detectron2.paste_check import check_pasted
from unseg_d2.detectors.detectron2.rate_check import RateCheck
from unseg_d2.errors import UnsegError


@META_ARCH_REGISTRY.register()
def build_unseg_model(cfg: CfgNode) -> nn.Module:
    """Build the meta-architecture that the configuration names, with heads that compute what its keys ask for.

    Args:
        cfg: what `add_unseg_config` has extended.

    Returns:
        Detectron2's class of network. In training it refuses input without what the keys need.

    Raises:
        UnsegError: a key has no effect with this network.
    """
    name = cfg.MODEL["META_ARCHITECTURE"]
    if name == build_unseg_model.__name__:
        raise UnsegError(f"MODEL.META_ARCHITECTURE is {name}, which is no network; set it to GeneralizedRCNN.")
    own = _plain(cfg)
    use_our_heads(own)
    model: nn.Module = META_ARCH_REGISTRY.get(name)(own)
    check_network(model, own)
    if own.DATALOADER.COPY_PASTE:
        model.register_forward_pre_hook(check_pasted)
    if own.SOLVER.BASE_LR_MULTIPLIER != 1:
        model.register_forward_pre_hook(RateCheck.from_config(own, model))
    return model


def _plain(cfg: CfgNode) -> Detectron2CfgNode:
    """Return a copy that answers as Detectron2's own configuration does, to be changed."""
    copy = Detectron2CfgNode(cfg)
    copy.MODEL.DEVICE = cfg.MODEL.DEVICE  # auto is a device by now
    return copy
