"""Settings of speed: the same network, names and results but for rounding."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.builtin.speed import speed_up
from unseg_d2.errors import UnsegError


def test_channels_last_changes_rounding_only(tiny_cfg: Callable, make_sample: Callable) -> None:
    plain = build_model(tiny_cfg()).eval()
    changed = speed_up(copy.deepcopy(plain), tiny_cfg(MODEL__CHANNELS_LAST=True))
    assert changed.state_dict().keys() == plain.state_dict().keys()
    layouts: list[bool] = []
    changed.backbone.register_forward_pre_hook(
        lambda _, inputs: layouts.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    images = [make_sample(64, 96)]
    with torch.inference_mode():
        expected, found = plain(images)[0], changed(images)[0]
    assert layouts == [True]
    torch.testing.assert_close(found.boxes, expected.boxes, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_compiled_backbone_keeps_names_and_results(tiny_cfg: Callable, make_sample: Callable) -> None:
    plain = build_model(tiny_cfg()).eval()
    try:
        compiled = speed_up(copy.deepcopy(plain), tiny_cfg(MODEL__COMPILE=True))
    except UnsegError as error:
        pytest.skip(str(error))
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    images = [make_sample(64, 96)]
    with torch.inference_mode():
        expected, found = plain(images)[0], compiled(images)[0]
    torch.testing.assert_close(found.boxes, expected.boxes, atol=1e-3, rtol=1e-4)


def test_a_missing_compiler_is_one_sentence(tiny_cfg: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile(function: Callable) -> Callable:
        raise RuntimeError("No working C++ compiler found in torch._inductor.config.cpp.cxx.\nmore")

    monkeypatch.setattr(torch, "compile", compile)
    with pytest.raises(UnsegError, match=r"^MODEL\.COMPILE needs a C\+\+ compiler.*No working C\+\+ compiler found"):
        speed_up(build_model(tiny_cfg()), tiny_cfg(MODEL__COMPILE=True))
