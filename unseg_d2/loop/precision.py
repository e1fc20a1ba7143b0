"""Numerical precision and speed of torch, as a recipe asks for them."""

from __future__ import annotations

import logging

import torch
from fvcore.common.config import CfgNode

logger = logging.getLogger(__name__)


def mixed_precision(cfg: CfgNode, device: torch.device) -> bool:
    """Return whether to use mixed precision: ``SOLVER.AMP.ENABLED``, on CUDA only; elsewhere the log says so.

    Args:
        cfg: recipe.
        device: of the network.
    """
    if cfg.SOLVER.AMP.ENABLED and device.type != "cuda":
        logger.info("Mixed precision (SOLVER.AMP.ENABLED) needs CUDA; using float32.")
    return cfg.SOLVER.AMP.ENABLED and device.type == "cuda"


def set_up_torch(cfg: CfgNode) -> None:
    """Apply ``FLOAT32_PRECISION`` and ``CUDNN_BENCHMARK`` of a recipe, and seed torch with its ``SEED``."""
    if cfg.FLOAT32_PRECISION:
        torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    torch.manual_seed(cfg.SEED)
