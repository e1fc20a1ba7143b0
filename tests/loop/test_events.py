"""What a training reports: read again after a kill, sent to a tracker, and how long it will take, said once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from unseg_d2.loop.events import PERIOD, TrainingLog, read_reports


class Recorder:
    def __init__(self) -> None:
        self.sent: list[tuple[int, dict[str, float]]] = []
        self.is_closed = False

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        self.sent.append((iteration, dict(values)))

    def close(self) -> None:
        self.is_closed = True


def test_the_tracker_gets_what_the_file_gets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="unseg_d2")
    tracker = Recorder()
    with TrainingLog(tmp_path, 0, 3 * PERIOD, tracker=tracker) as log:
        for iteration in range(3 * PERIOD):
            log.step(iteration, {"loss_mask": 2.0}, 0.1, 0.0)
        log.metrics(3 * PERIOD - 1, {"segm/AP": 5.0})
    lines = read_reports(tmp_path / "metrics.json")
    assert [line["iteration"] for line in lines] == [19, 39, 59] and lines[-1]["segm/AP"] == 5.0
    assert [iteration for iteration, _ in tracker.sent] == [19, 39, 59, 59] and tracker.is_closed
    assert tracker.sent[0][1]["total_loss"] == 2.0
    assert sum("40 iterations at" in text for text in caplog.messages) == 1


def test_a_file_of_a_killed_and_resumed_training(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    assert read_reports(file) == []
    lines = ['{"iteration": 19, "a": 1}', '{"iteration": 39, "a": 2}', '{"iteration": 19, "a": 3, "b": 4}', '{"iter']
    file.write_text("\n".join(lines))
    assert read_reports(file) == [{"iteration": 19, "a": 3, "b": 4}, {"iteration": 39, "a": 2}]
