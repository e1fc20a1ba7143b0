"""Which device a setting such as ``MODEL.DEVICE`` means, and how many cores there are."""

from __future__ import annotations

import os

import torch

from unseg_d2.errors import UnsegError


def resolve_device(name: str, key: str = "FEATURES.DEVICE") -> torch.device:
    """Return the device that a name means: ``auto`` is CUDA if available, ``cuda`` the GPU of this process.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` ...
        key: the setting it comes from, for the error message.

    Raises:
        UnsegError: the device does not exist.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UnsegError(f"{key} is '{name}', but must be auto, cpu, cuda or cuda:<number>.") from None
    if device.type != "cuda":
        return device
    if not torch.cuda.is_available():
        raise UnsegError(f"{key} is {name}, but torch sees no CUDA device; set {key} cpu.")
    if (device.index or 0) >= torch.cuda.device_count():
        raise UnsegError(f"{key} is {name}, but torch sees {torch.cuda.device_count()} CUDA devices.")
    return torch.device("cuda", torch.cuda.current_device()) if device.index is None else device


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
