"""What a detector's training says and leaves before its first iteration."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from fake_engine import FakeEngine
from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.training.train import train


def recipe(folder: Path, *opts: str) -> CfgNode:
    data = ("DATASETS.TRAIN", "('labels.json',)", "MODEL.ROI_HEADS.NUM_CLASSES", "1")
    return load_cfg(None, ["OUTPUT_DIR", str(folder), *data, *opts])


@pytest.fixture
def folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    """A folder with a training that has written a checkpoint."""
    caplog.set_level("INFO", logger="unseg_d2.training.train")
    train(FakeEngine(), recipe(tmp_path, "SOLVER.BASE_LR", "0.5"))
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    caplog.clear()
    return tmp_path


def test_a_changed_recipe_is_said_and_followed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(FakeEngine(), recipe(folder, "SOLVER.BASE_LR", "0.25", "SOLVER.MAX_ITER", "7"), resume=True)
    (line,) = [message for message in caplog.messages if message.startswith("Resuming")]
    assert "SOLVER.BASE_LR was 0.5, now 0.25; SOLVER.MAX_ITER was" in line and line.endswith("now 7.")
    assert yaml.safe_load((folder / "config.yaml").read_text())["SOLVER"]["BASE_LR"] == 0.25


def test_nothing_is_said_where_nothing_changed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(FakeEngine(), recipe(folder, "SOLVER.BASE_LR", "0.5"), resume=True)
    train(FakeEngine(), recipe(folder, "SOLVER.BASE_LR", "0.1"))  # begins anew
    assert not [message for message in caplog.messages if "recipe" in message]


@pytest.mark.parametrize("text", ["SOLVER: [", "- 1"])
def test_a_damaged_record_stops_no_training(folder: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    (folder / "config.yaml").write_text(text)
    train(FakeEngine(), recipe(folder), resume=True)
    assert any("changes of the recipe cannot be named" in message for message in caplog.messages)
