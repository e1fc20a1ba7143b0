"""Which device a setting such as ``MODEL.DEVICE`` means, and how many cores there are."""

from __future__ import annotations

import os
import re

import torch

from unseg_d2.errors import UnsegError

_NO_GPU_MEMORY = re.compile(r"CUDA out of memory|CUDNN_STATUS_ALLOC|HIP out of memory")
_NO_MEMORY = re.compile(
    r"DefaultCPUAllocator|Insufficient memory|not enough memory|Cannot allocate memory|failed to map segment"
    r"|can't start new thread|bad_alloc"
    r"|could not create a (primitive|memory object)(?! descriptor)"  # oneDNN, whose code and buffers found no room
)
_DEVICE = re.compile(
    r"\b(CUDA|HIP|MPS|cuDNN|NCCL|cuBLAS|cuSOLVER)\w*[ _](driver |internal )?(error|failure|status)"
    r"|device-side assert|illegal memory access|Triton Error",
    re.IGNORECASE,
)


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


def is_gpu_memory_full(error: BaseException) -> bool:
    """Whether an exception comes from lack of memory on a GPU, where less at once may fit."""
    return isinstance(error, torch.OutOfMemoryError) or bool(_NO_GPU_MEMORY.search(str(error)))


def device_failure(error: BaseException) -> str | None:
    """Return one sentence if an exception comes from a device or from lack of memory, ``None`` for any other.

    Args:
        error: what torch, NumPy or OpenCV raised.

    >>> device_failure(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))
    """
    text = " ".join(str(error).split())
    if is_gpu_memory_full(error):
        return (
            "The GPU's memory is full; lower FEATURES.BATCH_SIZE or --num-workers when making masks, "
            "SOLVER.IMS_PER_BATCH when training, TEST.IMS_PER_BATCH when predicting, or the size of the images."
        )
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return (
            "The memory is full; lower --num-workers, DATALOADER.NUM_WORKERS, the batch size or the size of the "
            "images (INPUT.MAX_PIXELS leaves the largest out)."
        )
    if type(error).__name__ == "AcceleratorError" or _DEVICE.search(text):
        return (
            f"The device failed ({text[:200]}); finished work is kept: run the same command again, and if the device "
            "fails again, compute on the CPU (FEATURES.DEVICE cpu, MODEL.DEVICE cpu)."
        )
    return None
