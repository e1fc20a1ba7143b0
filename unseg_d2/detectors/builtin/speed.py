"""Settings that make the network faster and change its results by rounding only."""

from __future__ import annotations

import torch
from fvcore.common.config import CfgNode

from unseg_d2.detectors.builtin.model import GeneralizedRCNN
from unseg_d2.errors import UnsegError


def speed_up(model: GeneralizedRCNN, cfg: CfgNode) -> GeneralizedRCNN:
    """Change, in place, how a network computes, as ``MODEL.CHANNELS_LAST`` and ``MODEL.COMPILE`` say, and return it.

    Names and shapes of its parameters stay.

    Args:
        model: on its device.
        cfg: recipe.

    Raises:
        UnsegError: it is to be compiled, and there is no compiler.
    """
    if cfg.MODEL.CHANNELS_LAST:
        model.backbone.to(memory_format=torch.channels_last)
        model.memory_format = torch.channels_last
    if cfg.MODEL.COMPILE:
        _check_compiler(model.pixel_mean.device)
        model.backbone.compile()
    return model


def _check_compiler(device: torch.device) -> None:
    """Compile a sum, so that a missing compiler is found before any work."""
    try:
        torch.compile(lambda value: value + 1)(torch.zeros(8, device=device))
    except Exception as error:  # of the compiler's own kinds
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UnsegError(
            f"MODEL.COMPILE needs a C++ compiler, on a GPU Triton: {reason.rstrip('.')[:200]}. Install it, or set "
            "MODEL.COMPILE False."
        ) from error
