"""What replaces a normalisation layer that needs CUDA."""

from __future__ import annotations

import logging

import pytest
import torch

from unseg_d2.detectors.norms import available_norms


def test_synchronised_batch_norm_is_replaced_off_cuda_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="unseg_d2")
    assert available_norms(torch.device("cpu"), "FrozenBN", "") == ["FrozenBN", ""]
    assert available_norms(torch.device("cuda"), "SyncBN", "GN") == ["SyncBN", "GN"]
    assert not caplog.messages
    assert available_norms(torch.device("cpu"), "SyncBN", "GN", "SyncBN") == ["BN", "GN", "BN"]
    assert caplog.messages == ["Synchronised BatchNorm (SyncBN) needs CUDA; using BN."]
