"""Normalisation layers that a device does not have, and what replaces them in both engines."""

from __future__ import annotations

import logging

import torch

logger = logging.getLogger(__name__)


def available_norms(device: torch.device, *names: str) -> list[str]:
    """Replace synchronised BatchNorm by BatchNorm unless the device is CUDA; the log says so.

    Args:
        device: of the network.
        *names: values of ``NORM`` in the configuration.

    >>> available_norms(torch.device("cuda"), "SyncBN", "GN")
    ['SyncBN', 'GN']
    """
    if device.type == "cuda" or "SyncBN" not in names:
        return list(names)
    logger.info("Synchronised BatchNorm (SyncBN) needs CUDA; using BN.")
    return ["BN" if name == "SyncBN" else name for name in names]
