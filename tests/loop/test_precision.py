"""Mixed precision, and torch set up as a recipe asks."""

from __future__ import annotations

import logging
import os

import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.loop.precision import mixed_precision, set_up_torch


@pytest.mark.parametrize(
    ("enabled", "device", "expected"), [(True, "cuda", True), (True, "cpu", False), (False, "cuda", False)]
)
def test_mixed_precision_is_for_cuda_only(
    enabled: bool, device: str, expected: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="unseg_d2")
    cfg = load_cfg(None, ["SOLVER.AMP.ENABLED", str(enabled)])
    assert mixed_precision(cfg, torch.device(device)) is expected
    assert ("needs CUDA; using float32" in caplog.text) == (enabled and not expected)


def test_torch_is_set_up_as_the_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    precisions = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", precisions.append)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    set_up_torch(load_cfg(None, ["SEED", "5", "FLOAT32_PRECISION", "high", "CUDNN_BENCHMARK", "False"]))
    first = torch.rand(1)
    torch.manual_seed(5)
    assert precisions == ["high"] and not torch.backends.cudnn.benchmark and torch.equal(first, torch.rand(1))


def test_a_training_that_repeats_searches_for_no_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        set_up_torch(load_cfg(None, ["DETERMINISTIC", "True"]))
        assert torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.deterministic
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        with pytest.raises(UnsegError, match="CUDNN_BENCHMARK picks other sums in each run"):
            set_up_torch(load_cfg(None, ["DETERMINISTIC", "True", "CUDNN_BENCHMARK", "True"]))
    finally:
        set_up_torch(load_cfg(None))
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    assert not torch.are_deterministic_algorithms_enabled()
