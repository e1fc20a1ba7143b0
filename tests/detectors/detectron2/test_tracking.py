"""What Detectron2's trainer sends to a tracker, and what it says of the time ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from fvcore.common.config import CfgNode

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)

from unseg_d2.detectors.detectron2.engine import Detectron2Engine
from unseg_d2.errors import UnsegError

pytestmark = pytest.mark.detectron2


class Recorder:
    def __init__(self) -> None:
        self.sent: list[tuple[int, dict[str, float]]] = []
        self.closed = 0

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        self.sent.append((iteration, dict(values)))

    def close(self) -> None:
        self.closed += 1


@pytest.mark.slow
def test_a_training_reports_to_the_tracker_and_says_how_long_it_takes(
    tiny_cfg: Callable[..., CfgNode],
    labels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="unseg_d2")
    tracker = Recorder()
    monkeypatch.setattr("unseg_d2.detectors.detectron2.trainer.open_tracker", lambda *_: tracker)
    monkeypatch.setattr("unseg_d2.detectors.detectron2.tracking.PERIOD", 5)  # Detectron2 times none of the first three
    cfg = tiny_cfg(OUTPUT_DIR=tmp_path / "run", DATASETS__TRAIN=(str(labels),), SOLVER__MAX_ITER=8)
    cfg.freeze()
    torch.set_num_threads(1)
    Detectron2Engine().train(cfg, resume=False)
    (last, values), *_ = reversed(tracker.sent)
    assert last == 7 and {"total_loss", "loss_mask", "lr"} <= values.keys() and tracker.closed == 1
    assert any(text.startswith("2 iterations at ") for text in caplog.messages)


def test_choices_of_the_built_in_engine_are_refused(
    tiny_cfg: Callable[..., CfgNode], labels: Path, tmp_path: Path
) -> None:
    cfg = tiny_cfg(OUTPUT_DIR=tmp_path / "run", DATASETS__TRAIN=(str(labels),), SOLVER__EMA_DECAY=0.9)
    cfg.freeze()
    with pytest.raises(UnsegError, match=r"SOLVER\.EMA_DECAY has no effect with Detectron2's engine"):
        Detectron2Engine().train(cfg, resume=False)
