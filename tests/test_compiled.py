from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch

from unseg_d2 import compiled


def no_folder(**options: object) -> object:
    raise RuntimeError("cannot cache function: no locator available")


@pytest.mark.parametrize("numba", [None, SimpleNamespace(njit=no_folder)], ids=["does not import", "has no folder"])
def test_a_numba_that_does_not_work_is_done_without(
    numba: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "numba", numba)
    assert not compiled.has_numba.__wrapped__()
    assert "so that slower loops of PyTorch run" in caplog.text


def test_loops_are_for_tensors_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "has_numba", lambda: True)
    assert compiled.runs_compiled(torch.zeros(1))
    assert not compiled.runs_compiled(torch.zeros(1, device="meta"))
