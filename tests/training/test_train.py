"""What a detector's training says and leaves before its first iteration."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from fake_engine import FakeEngine
from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.training.train import begin_or_resume, train


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


@pytest.fixture
def begun(tmp_path: Path) -> list[str]:
    """Overrides of a training with a label set and weights in files, which has written a checkpoint."""
    (tmp_path / "labels.json").write_text("{}")
    (tmp_path / "weights.pth").write_bytes(b"a")
    given = ["DATASETS.TRAIN", f"('{tmp_path}/labels.json',)", "MODEL.WEIGHTS", str(tmp_path / "weights.pth")]
    begin_or_resume(FakeEngine(), recipe(tmp_path / "run", *given))
    (tmp_path / "run" / "last_checkpoint").write_text("model_final.pth")
    return given


def resumed(folder: Path, *opts: str, restart: bool = False) -> bool:
    engine = FakeEngine()
    begin_or_resume(engine, recipe(folder / "run", *opts), restart=restart)
    return bool(engine.trained[0]["resume"])


def test_a_training_resumes_by_itself(tmp_path: Path, begun: list[str]) -> None:
    """Also when it is to be longer, is scored otherwise, or its files are elsewhere."""
    assert resumed(tmp_path, *begun) and resumed(tmp_path, *begun, "SOLVER.MAX_ITER", "7", "TEST.NO_SEGM", "True")
    (tmp_path / "labels.json").rename(tmp_path / "moved.json")
    (tmp_path / "weights.pth").rename(tmp_path / "moved.pth")
    moved = ["DATASETS.TRAIN", f"('{tmp_path}/moved.json',)", "MODEL.WEIGHTS", str(tmp_path / "moved.pth")]
    assert resumed(tmp_path, *moved)


def test_a_training_of_something_else_is_refused_and_can_be_set_aside(tmp_path: Path, begun: list[str]) -> None:
    remedy = r"Choose another --output, or begin anew with --restart, which keeps what is in"
    with pytest.raises(UnsegError, match=rf"other settings: recipe\.SOLVER\.BASE_LR was .*, now 0\.5\. {remedy}"):
        resumed(tmp_path, *begun, "SOLVER.BASE_LR", "0.5")
    (tmp_path / "labels.json").write_text("{ }")
    with pytest.raises(UnsegError, match=r"other settings: labels was \['\w+"):
        resumed(tmp_path, *begun)
    (tmp_path / "labels.json").write_text("{}")
    (tmp_path / "weights.pth").write_bytes(b"b")
    with pytest.raises(UnsegError, match=r"other settings: weights was '\w+"):
        resumed(tmp_path, *begun)
    (tmp_path / "run" / "model_final.pth").write_text("finished work")
    assert not resumed(tmp_path, *begun, restart=True)
    assert (tmp_path / "run" / "before_1" / "model_final.pth").read_text() == "finished work"
    assert b"labels.json" in (tmp_path / "run" / "model_final.pth").read_bytes()
    assert not resumed(tmp_path, *begun, restart=True) and (tmp_path / "run" / "before_2" / "model_final.pth").is_file()


def test_without_a_checkpoint_there_is_nothing_to_go_on_with(tmp_path: Path, begun: list[str]) -> None:
    (tmp_path / "run" / "last_checkpoint").unlink()
    resumed(tmp_path, *begun, "SOLVER.BASE_LR", "0.5")


@pytest.mark.parametrize(("key", "value"), [("DATASETS.TRAIN", "('none.json',)"), ("MODEL.WEIGHTS", "none.pth")])
def test_what_is_not_there_leaves_nothing_behind(tmp_path: Path, begun: list[str], key: str, value: str) -> None:
    with pytest.raises(UnsegError, match="There is no"):
        begin_or_resume(FakeEngine(), recipe(tmp_path / "new", *begun, key, value))
    assert not (tmp_path / "new").exists()
