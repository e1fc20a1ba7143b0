"""The record of finished steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.config.load import as_values
from unseg_d2.errors import UnsegError
from unseg_d2.training.state import RunState, Step


def settings(*, first: tuple[str, ...] = (), rounds: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """Settings of a run whose recipes differ from the defaults in a few keys."""
    recipes = {"first": as_values(load_cfg(None, first)), "rounds": as_values(load_cfg(None, rounds))}
    return {"recipes": recipes, "images": "photos", "checksums": {"weights": ""}, **changes}


def begin_rounds(folder: Path) -> None:
    """Leave what the training of the first round leaves before its first iteration."""
    (folder / "round1").mkdir()
    (folder / "round1" / "config.yaml").write_text("")


def earlier(folder: Path, *opts: str) -> None:
    """Write what earlier versions wrote: the text of one recipe."""
    content = {"settings": {"config": load_cfg(None, opts).dump(), "images": "photos"}, "steps": []}
    (folder / "rounds.json").write_text(json.dumps(content))


def test_steps_survive_reopening(tmp_path: Path) -> None:
    RunState(tmp_path, settings()).finish(Step(0, "masks", "masks/labels.json", 1.5))
    state = RunState(tmp_path, settings())
    assert state.find(0, "masks") == Step(0, "masks", "masks/labels.json", 1.5)
    assert state.find(1, "masks") is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (settings(images="holiday"), r"images was 'photos', now 'holiday'"),
        (settings(first=("SEED", "3")), r"recipes\.first\.SEED was 0, now 3"),
        (settings(rounds=("SOLVER.MAX_ITER", "7")), r"recipes\.rounds\.SOLVER\.MAX_ITER was \d+, now 7"),
        (settings(checksums={"weights": "ab"}), r"checksums\.weights was '', now 'ab'"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    RunState(tmp_path, settings())
    begin_rounds(tmp_path)
    before = (tmp_path / "rounds.json").read_bytes()
    with pytest.raises(UnsegError, match=rf"holds a run that began with other settings: {words}\. Choose another"):
        RunState(tmp_path, changed)
    assert (tmp_path / "rounds.json").read_bytes() == before


def test_another_number_of_processes(tmp_path: Path) -> None:
    """It is refused only where a training has begun whose schedule it would change."""
    RunState(tmp_path, settings(num_processes=8))
    RunState(tmp_path, settings(num_processes=4))
    (tmp_path / "round0").mkdir()
    (tmp_path / "round0" / "model_0000009.pth").touch()
    (tmp_path / "round0" / "last_checkpoint").write_text("model_0000009.pth")
    RunState(tmp_path, settings(num_processes=2))
    scaled = ("SOLVER.REFERENCE_WORLD_SIZE", "8")
    other = tmp_path / "other"
    RunState(other, settings(first=scaled, num_processes=8))
    (tmp_path / "round0").rename(other / "round0")
    with pytest.raises(UnsegError, match=r"num_processes was 8, now 4"):
        RunState(other, settings(first=scaled, num_processes=4))
    state = RunState(other, settings(first=scaled, num_processes=8))
    state.finish(Step(0, "train", "round0/model_final.pth"))
    RunState(other, settings(first=scaled, num_processes=4))


def test_trust_may_be_added(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    RunState(tmp_path, settings()).finish(Step(0, "masks", "masks/labels.json"))
    begin_rounds(tmp_path)
    trust = ("MODEL.TRUST_CHECKPOINT", "True")
    state = RunState(tmp_path, settings(first=trust, rounds=trust))
    assert state.find(0, "masks")
    assert "recipes.rounds.MODEL.TRUST_CHECKPOINT was False, now True." in caplog.messages[-1]
    stored = json.loads((tmp_path / "rounds.json").read_text())
    assert stored["settings"]["recipes"]["first"]["MODEL"]["TRUST_CHECKPOINT"] is True and len(stored["steps"]) == 1


def test_the_recipe_of_the_rounds_may_change_before_they_begin(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    RunState(tmp_path, settings())
    RunState(tmp_path, settings(rounds=("SOLVER.MAX_ITER", "7")))
    assert "recipes.rounds.SOLVER.MAX_ITER was" in caplog.messages[-1]
    begin_rounds(tmp_path)
    with pytest.raises(UnsegError, match=r"MAX_ITER was 7, now 8"):
        RunState(tmp_path, settings(rounds=("SOLVER.MAX_ITER", "8")))


def test_a_run_of_an_earlier_version_resumes_or_is_refused(tmp_path: Path) -> None:
    """What it did not record is taken from the command that resumes it, and recorded."""
    earlier(tmp_path, "SEED", "1")
    with pytest.raises(UnsegError, match=r"recipes\.first\.SEED was 1, now 2"):
        RunState(tmp_path, settings(first=("SEED", "2")))
    RunState(tmp_path, settings(first=("SEED", "1"), rounds=("SOLVER.MAX_ITER", "7"), checksums={"weights": "ab"}))
    begin_rounds(tmp_path)
    with pytest.raises(UnsegError, match=r"checksums.weights was 'ab', now ''; recipes\.rounds\..*MAX_ITER was 7, now"):
        RunState(tmp_path, settings(first=("SEED", "1")))


def test_an_earlier_version_did_not_record_the_recipe_of_the_rounds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    earlier(tmp_path)
    begin_rounds(tmp_path)
    RunState(tmp_path, settings(rounds=("SOLVER.MAX_ITER", "7")))
    assert "did not record the recipe of the rounds" in caplog.messages[-1]


def test_a_recipe_that_this_version_does_not_know(tmp_path: Path) -> None:
    content = {"settings": {"config": "NO_SUCH_KEY: 1", "images": "photos"}, "steps": []}
    (tmp_path / "rounds.json").write_text(json.dumps(content))
    with pytest.raises(UnsegError, match=r"cannot resume .*\(Unknown key NO_SUCH_KEY in .*\); choose another --output"):
        RunState(tmp_path, settings())


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"steps": [{"unknown": 1}], "settings": {}}', '{"steps": [], "settings": {"config": "a"}}']
    + ['{"steps": [], "settings": []}', '{"steps": [], "settings": {"config": ": :"}}'],
)
def test_damage_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "rounds.json").write_text(text)
    with pytest.raises(UnsegError, match="is damaged"):
        RunState(tmp_path, settings())
