"""The record of finished steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.training.state import RunState, Step


def test_steps_survive_reopening(tmp_path: Path) -> None:
    RunState(tmp_path, {"config": "a"}).finish(Step(0, "masks", "masks/labels.json", 1.5))
    state = RunState(tmp_path, {"config": "a"})
    assert state.find(0, "masks") == Step(0, "masks", "masks/labels.json", 1.5)
    assert state.find(1, "masks") is None


def test_other_settings_are_refused(tmp_path: Path) -> None:
    RunState(tmp_path, {"config": "a", "images": "photos"})
    with pytest.raises(UnsegError, match=r"other settings \(images\)"):
        RunState(tmp_path, {"config": "a", "images": "holiday"})


@pytest.mark.parametrize("text", ["{", "[]", '{"steps": [{"unknown": 1}], "settings": {}}'])
def test_damage_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "rounds.json").write_text(text)
    with pytest.raises(UnsegError, match="is damaged"):
        RunState(tmp_path, {})
