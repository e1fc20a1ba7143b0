"""Which checkpoint is kept as the best, after a kill too, and what is refused because nothing decides it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.loop.best import BestCheckpoint, check_best, chosen_checkpoint, refuse_choices


def offered(best: BestCheckpoint, *values: tuple[int, float]) -> None:
    for iteration, value in values:
        best.offer(iteration, {"segm/AP": value}, lambda path, text=str(iteration): path.write_text(text))


def kept(folder: Path) -> tuple[str, dict]:
    return (folder / "model_best.pth").read_text(), json.loads((folder / "best.json").read_text())


def test_the_first_of_the_highest_values_is_kept(tmp_path: Path) -> None:
    offered(BestCheckpoint(tmp_path, "segm/AP", resume=False), (1, 3.0), (3, math.nan), (5, 7.0), (7, 7.0), (9, 2.0))
    assert kept(tmp_path) == ("5", {"metric": "segm/AP", "value": 7.0, "iteration": 5})


def test_what_was_kept_before_a_kill_counts_for_the_same_metric_only(tmp_path: Path) -> None:
    offered(BestCheckpoint(tmp_path, "segm/AP", resume=False), (1, 3.0), (3, 7.0))
    offered(BestCheckpoint(tmp_path, "segm/AP", resume=True), (3, 7.0), (5, 6.0))
    assert kept(tmp_path)[0] == "3"
    BestCheckpoint(tmp_path, "bbox/AP", resume=True)
    assert not (tmp_path / "model_best.pth").exists()
    offered(BestCheckpoint(tmp_path, "segm/AP", resume=False), (1, 1.0))
    assert kept(tmp_path)[0] == "1"


def test_a_metric_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    best = BestCheckpoint(tmp_path, "segm/ap", resume=False)
    with pytest.raises(UnsegError, match=r"TEST\.BEST is segm/ap, but the evaluation has segm/AP, bbox/AP"):
        best.offer(0, {"segm/AP": 1.0, "bbox/AP": 1.0}, Path.touch)


def test_which_checkpoint_counts_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="unseg_d2")
    assert chosen_checkpoint(tmp_path, "") == tmp_path / "model_final.pth" and not caplog.messages
    assert chosen_checkpoint(tmp_path, "segm/AP") == tmp_path / "model_final.pth"
    assert "segm/AP was never defined, so the last checkpoint counts" in caplog.text
    offered(BestCheckpoint(tmp_path, "segm/AP", resume=False), (79, 23.4))
    assert chosen_checkpoint(tmp_path, "segm/AP") == tmp_path / "model_best.pth"
    assert "with segm/AP 23.40 after iteration 79; model_final.pth is the last" in caplog.text


def recipe(*opts: object) -> CfgNode:
    return load_cfg(None, [str(word) for word in opts])


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (("DATASETS.HELD_OUT", 0.1), "DATASETS.HELD_OUT sets images aside that TEST.BEST is computed on"),
        (("TEST.BEST", "segm/AP"), "TEST.BEST needs evaluations"),
        (("TEST.BEST", "segm/AP", "TEST.EVAL_PERIOD", 10), "TEST.BEST needs something to evaluate on"),
    ],
)
def test_a_choice_that_nothing_decides_is_refused(opts: tuple, message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        check_best(recipe(*opts))


def test_what_decides_is_accepted() -> None:
    for more in (("DATASETS.HELD_OUT", 0.1), ("DATASETS.TEST", "('coco_2017_val',)")):
        check_best(recipe("TEST.BEST", "segm/AP", "TEST.EVAL_PERIOD", 10, *more))
    check_best(recipe())


@pytest.mark.parametrize(
    "opts", [("SOLVER.EMA_DECAY", 0.9), ("TEST.BEST", "segm/AP"), ("DATASETS.HELD_OUT", 0.1)], ids=lambda opts: opts[0]
)
def test_keys_without_effect_elsewhere_are_refused(opts: tuple) -> None:
    refuse_choices(recipe(), "ENGINE detectron2")
    with pytest.raises(UnsegError, match=f"{opts[0]} has no effect with ENGINE detectron2"):
        refuse_choices(recipe(*opts), "ENGINE detectron2")
