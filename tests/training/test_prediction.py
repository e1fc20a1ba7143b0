"""Prediction over a data set: parts, resuming, one result file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from unseg_d2.config import load_cfg
from unseg_d2.training import prediction
from unseg_d2.training.prediction import predict_to_file

RECORDS = [{"file_name": f"{index}.png", "image_id": index, "height": 8, "width": 8} for index in range(5)]


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With parts of two images, a run that dies at the fourth image has one part and repeats one image."""
    monkeypatch.setattr(prediction, "PART_SIZE", 2)
    cfg = load_cfg()
    whole = predict_to_file(FakeEngine(), cfg, RECORDS, weights="w", output=tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        predict_to_file(FakeEngine(fail_after=3), cfg, RECORDS, weights="w", output=tmp_path / "resumed")
    second = FakeEngine()
    resumed = predict_to_file(second, cfg, RECORDS, weights="w", output=tmp_path / "resumed")
    assert second.predicted == ["2.png", "3.png", "4.png"]
    assert resumed.read_bytes() == whole.read_bytes()
    assert [result["image_id"] for result in json.loads(whole.read_text())] == [0, 1, 2, 3, 4]


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    predict_to_file(FakeEngine(), load_cfg(), RECORDS, weights="w", output=tmp_path)
    again = FakeEngine()
    predict_to_file(again, load_cfg(), RECORDS, weights="w", output=tmp_path)
    assert not again.predicted
