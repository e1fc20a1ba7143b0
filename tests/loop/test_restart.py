"""A training that is begun anew loses nothing."""

from __future__ import annotations

from pathlib import Path

from unseg_d2.loop.restart import set_aside


def test_what_a_training_left_is_set_aside(tmp_path: Path) -> None:
    assert set_aside(tmp_path) is None and set_aside(tmp_path / "none") is None
    for name in ("model_0000009.pth", "last_checkpoint", "metrics.json", "notes.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "proposals").mkdir()
    assert set_aside(tmp_path) == tmp_path / "before_1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before_1", "notes.txt", "proposals"]
    assert (tmp_path / "before_1" / "model_0000009.pth").read_text() == "model_0000009.pth"
    (tmp_path / "model_final.pth").touch()
    assert set_aside(tmp_path) == tmp_path / "before_2"
