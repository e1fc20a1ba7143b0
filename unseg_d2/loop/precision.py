"""Numerical precision and speed of torch, as a recipe asks for them."""

from __future__ import annotations

import logging
import os

import torch
from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError

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


def set_precision(cfg: CfgNode) -> None:
    """Apply ``FLOAT32_PRECISION`` and ``CUDNN_BENCHMARK`` of a recipe, in training and in prediction."""
    if cfg.FLOAT32_PRECISION:
        torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK


def set_up_torch(cfg: CfgNode) -> None:
    """Apply what a recipe says of precision and of repeating (``DETERMINISTIC``), and seed torch with its ``SEED``.

    Raises:
        UnsegError: the fastest convolution is searched for, but numbers should repeat.
    """
    set_precision(cfg)
    if cfg.DETERMINISTIC and cfg.CUDNN_BENCHMARK:
        raise UnsegError(
            "CUDNN_BENCHMARK picks other sums in each run, which DETERMINISTIC forbids; set one of them to False."
        )
    torch.backends.cudnn.deterministic = cfg.DETERMINISTIC
    torch.use_deterministic_algorithms(cfg.DETERMINISTIC)
    if cfg.DETERMINISTIC:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to sum in a fixed order
    torch.manual_seed(cfg.SEED)
