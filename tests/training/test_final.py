"""The last model of a run has one name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.training.final import check_no_training, keep_final


def finished(folder: Path, content: str) -> Path:
    """A training's folder, of which only the names matter."""
    folder.mkdir()
    (folder / "config.yaml").write_text(f"SEED: {content}")
    (folder / "model_final.pth").write_text(content)
    return folder / "model_final.pth"


@pytest.mark.parametrize("has_links", [True, False])
def test_a_further_round_takes_the_name(tmp_path, monkeypatch, has_links):
    def refuses(*_):
        raise OSError("no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refuses)
    for number in ("1", "2", "2"):
        path = tmp_path / f"round{number}" / "model_final.pth"
        weights = path if path.is_file() else finished(tmp_path / f"round{number}", number)
        final = keep_final(weights, tmp_path)
        assert final.read_text() == number and (tmp_path / "config.yaml").read_text() == f"SEED: {number}"
        assert final.samefile(weights) == has_links
    assert (tmp_path / "round1" / "model_final.pth").read_text() == "1"


def test_killed_in_between_the_model_of_the_round_before_is_still_there(tmp_path, monkeypatch):
    keep_final(finished(tmp_path / "round0", "0"), tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        keep_final(finished(tmp_path / "round1", "1"), tmp_path)
    assert (tmp_path / "model_final.pth").read_text() == "0"
    assert keep_final(tmp_path / "round1" / "model_final.pth", tmp_path).read_text() == "1"


def test_a_folder_of_train_net_is_refused(tmp_path):
    check_no_training(tmp_path)
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    with pytest.raises(UnsegError, match="another --output"):
        check_no_training(tmp_path)
