"""The device of a setting: what is there is taken, what is not is named."""

from __future__ import annotations

import re

import pytest
import torch

from unseg_d2.devices import device_failure, resolve_device
from unseg_d2.errors import UnsegError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """Let torch see so many GPUs, of which this process has the last."""

    def see(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: count - 1)

    return see


def test_auto_is_the_gpu_of_this_process_or_the_cpu(gpus) -> None:
    gpus(0)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    gpus(2)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda:1")
    assert resolve_device("cuda:0") == torch.device("cuda:0")


@pytest.mark.parametrize(
    ("count", "name", "message"),
    [
        (0, "cuda:1", "MODEL.DEVICE is cuda:1, but torch sees no CUDA device; set MODEL.DEVICE cpu"),
        (2, "cuda:2", "MODEL.DEVICE is cuda:2, but torch sees 2 CUDA devices"),
        (0, "gpu", "MODEL.DEVICE is 'gpu', but must be auto, cpu, cuda or cuda:<number>"),
    ],
)
def test_devices_that_are_not_there(gpus, count: int, name: str, message: str) -> None:
    gpus(count)
    with pytest.raises(UnsegError, match=message):
        resolve_device(name, "MODEL.DEVICE")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "GPU's memory is full; lower"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "^The memory is full; lower"),
        (MemoryError(), "^The memory is full; lower"),
        (ImportError("lib.so: failed to map segment from shared object"), "^The memory is full; lower"),
        (OSError(12, "Cannot allocate memory"), "^The memory is full; lower"),
        (RuntimeError("can't start new thread"), "^The memory is full; lower"),
        (RuntimeError("could not create a primitive"), "^The memory is full; lower"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "device failed .*illegal memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "The device failed"),
        (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp"), "The device failed"),
        (RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED when calling cublasCreate(handle)"), "The device failed"),
    ],
)
def test_errors_of_the_device_are_sentences(error: Exception, message: str) -> None:
    assert re.search(message, device_failure(error) or "")


@pytest.mark.parametrize(
    "text", ["too blue to segment", "mat1 and mat2 shapes cannot be multiplied", "singular matrix"]
)
def test_errors_of_data_are_not_the_device_s(text: str) -> None:
    assert device_failure(RuntimeError(text)) is None
