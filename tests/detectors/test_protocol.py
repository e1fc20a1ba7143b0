from __future__ import annotations

import logging

import pytest

from unseg_d2.detectors import protocol
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.errors import UnsegError


def available(monkeypatch: pytest.MonkeyPatch, answer: tuple[bool, str]) -> None:
    monkeypatch.setattr(protocol, "detectron2_availability", lambda: answer)
    protocol._log_once.cache_clear()


def test_auto_falls_back_and_says_why(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    available(monkeypatch, (False, "Detectron2 is not installed"))
    caplog.set_level(logging.INFO)
    assert select_engine("auto").name == "builtin"
    assert caplog.messages == ["Engine: builtin (Detectron2 is not installed)"]


def test_asking_for_a_missing_engine_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    available(monkeypatch, (False, "no compiled _C"))
    with pytest.raises(UnsegError, match="ENGINE detectron2 cannot be used: no compiled _C"):
        select_engine("detectron2")


def test_unknown_engine() -> None:
    with pytest.raises(UnsegError, match="Did you mean 'detectron2'"):
        select_engine("detectron")


@pytest.mark.detectron2
def test_auto_prefers_detectron2() -> None:
    usable, reason = protocol.detectron2_availability()
    if not usable:
        pytest.skip(reason)
    assert select_engine("auto").name == "detectron2"
