"""Which device a setting such as ``FEATURES.DEVICE`` means."""

from __future__ import annotations

import torch

from unseg_d2.errors import UnsegError


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA where there is one.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` ...

    Raises:
        UnsegError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UnsegError(f"FEATURES.DEVICE is '{name}', but must be auto, cpu, cuda or cuda:<number>.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UnsegError(f"FEATURES.DEVICE is '{name}', but {torch.cuda.device_count()} CUDA devices are visible.")
    return device
