"""The settings of a run: written first, compared later."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.manifest import ABSENT, Change, changes, describe, open_or_refuse, read_manifest, resume_or_refuse

BEGAN = {"images": "photos", "settings": {"TAU": 0.15, "SIZE": (3, 4), "DEVICE": "cpu"}}
WORDS: dict[str, Any] = {"holds": "runs/a holds masks that were made", "remedy": "choose another --output"}


def with_settings(**settings: object) -> dict[str, Any]:
    return {**BEGAN, "settings": {**BEGAN["settings"], **settings}}


def test_leaves_that_differ() -> None:
    old = {"B": {"x": 1, "y": [1, 2], "z": None}, "A": "text", "C": {"deep": {"deeper": 1}}}
    new = {"B": {"x": 2, "y": (1, 2)}, "A": "text", "C": 3, "D": {"new": True}}
    assert changes(old, new) == [
        Change("B.x", 1, 2),
        Change("C", {"deep": {"deeper": 1}}, 3),
        Change("D", ABSENT, {"new": True}),
    ]
    assert not changes(BEGAN, json.loads(json.dumps(BEGAN)))


def test_a_message_names_five_and_counts_the_rest() -> None:
    found = [Change(f"K{index}", index, index + 1) for index in range(7)]
    assert describe(found[:2]) == "K0 was 0, now 1; K1 was 1, now 2"
    assert describe(found).endswith("; K3 was 3, now 4; K4 was 4, now 5; and 2 more")
    assert describe([Change("K", "a" * 500, ABSENT)]) == f"K was '{'a' * 78}…, now not set"


def test_a_changed_setting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run" / "manifest.json"
    assert open_or_refuse(path, BEGAN, **WORDS) == json.loads(path.read_text()) == json.loads(json.dumps(BEGAN))
    before = path.read_bytes()
    assert open_or_refuse(path, BEGAN, **WORDS) == json.loads(path.read_text())
    with pytest.raises(UnsegError) as refused:
        open_or_refuse(path, with_settings(TAU=0.2, DEVICE="cuda"), **WORDS, may_change=("settings.DEVICE",))
    assert str(refused.value) == (
        "runs/a holds masks that were made with other settings: settings.TAU was 0.15, now 0.2. "
        "Choose another --output."
    )
    assert path.read_bytes() == before


def test_a_key_that_a_later_version_has_gained_has_its_default(tmp_path: Path) -> None:
    path, gained = tmp_path / "manifest.json", {"settings.SIDE": ("peak",), "settings.NEW.A": 1, "settings.NEW.B": None}
    open_or_refuse(path, BEGAN, **WORDS, gained=gained)
    grown = with_settings(SIDE=["peak"], NEW={"A": 1, "B": None})
    open_or_refuse(path, grown, **WORDS, gained=gained)
    for other in (with_settings(SIDE=["border"]), with_settings(NEW={"A": 2, "B": None}), with_settings(OTHER=1)):
        with pytest.raises(UnsegError, match="was not set"):
            open_or_refuse(path, other, **WORDS, gained=gained)


def test_a_setting_that_may_change_is_said_and_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "manifest.json"
    open_or_refuse(path, BEGAN, **WORDS)
    assert not caplog.messages
    other = with_settings(DEVICE="cuda")
    open_or_refuse(path, other, **WORDS, may_change=("settings.DEVICE",))
    assert caplog.messages == [
        "runs/a holds masks that were made with other settings, which may change: "
        "settings.DEVICE was 'cpu', now 'cuda'."
    ]
    assert read_manifest(path, "")["settings"]["DEVICE"] == "cuda"
    open_or_refuse(path, other, **WORDS)
    assert len(caplog.messages) == 1


def test_consequences_are_not_named() -> None:
    old, new = {"sum": 1, "settings": {"A": 1}}, {"sum": 2, "settings": {"A": 2}}
    with pytest.raises(UnsegError, match=r"settings: settings\.A was 1, now 2\. Choose"):
        resume_or_refuse(old, new, **WORDS, causes="settings.")
    with pytest.raises(UnsegError, match=r"settings: sum was 1, now 2\. Choose"):
        resume_or_refuse(old, {**new, "settings": {"A": 1}}, **WORDS, causes="settings.")


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_damage_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(UnsegError, match=r"manifest\.json is damaged \(.*\); choose another --output\."):
        open_or_refuse(path, BEGAN, **WORDS)


def test_a_manifest_is_complete_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that dies while it writes its settings has none, and the next one begins."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "manifest.json"
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UnsegError, match="The disk is full"):
            open_or_refuse(path, BEGAN, **WORDS)
    assert not list(tmp_path.iterdir())
    open_or_refuse(path, BEGAN, **WORDS)
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]
