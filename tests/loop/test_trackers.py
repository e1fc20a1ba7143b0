"""Runs of Weights & Biases and MLflow by their own libraries, without a network; skipped where one is not installed."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.loop.trackers import GuardedTracker, check_tracker, open_tracker

SETTINGS = {"SOLVER": {"MAX_ITER": 40, "STEPS": [30]}, "SEED": 0}


def two_processes(name: str, folder: Path) -> None:
    """A training that is killed after two reports, and one that resumes it."""
    for values in ({19: 3.0, 39: 2.0}, {39: 2.5, 59: float("nan")}):
        tracker = open_tracker(name, folder, SETTINGS)
        assert tracker is not None
        for iteration, value in values.items():
            tracker.log(iteration, {"total_loss": value, "segm/AP": 1.0})
        tracker.close()


def test_mlflow_keeps_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra 'mlflow'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None, raising=False)
    folder = tmp_path / "round0"
    folder.mkdir()
    two_processes("mlflow", folder)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("unseg-d2")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "round0" and run.info.status == "FINISHED"
    assert run.data.params == {"SOLVER.MAX_ITER": "40", "SOLVER.STEPS": "[30]", "SEED": "0"}
    history = [(item.step, item.value) for item in client.get_metric_history(run.info.run_id, "total_loss")]
    assert history == [(19, 3.0), (39, 2.0), (39, 2.5)]
    assert run.data.metrics["segm/AP"] == 1.0


def test_wandb_writes_one_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs the extra 'wandb'")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "round0"
    folder.mkdir()
    two_processes("wandb", folder)
    run = json.loads((folder / "tracker.json").read_text())["wandb"]
    files = list((folder / "wandb").glob(f"offline-run-*-{run}/run-{run}.wandb"))
    last = time.monotonic() + 30  # a process of the library writes the files, and may be a little behind
    while not all(b"total_loss" in file.read_bytes() for file in files) and time.monotonic() < last:
        time.sleep(0.1)
    assert files and all(b"total_loss" in file.read_bytes() for file in files)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_tracker("")
    assert open_tracker("", tmp_path, {}) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsegError, match=r"TRACKER wandb needs the package wandb: pip install 'unseg-d2\[wandb\]'"):
        check_tracker("wandb")


def test_what_a_library_says_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="needs the extra 'mlflow'")

    def fail(*args: object) -> None:
        raise RuntimeError("no server\nat all")

    monkeypatch.setattr("unseg_d2.loop.trackers.MLflowTracker", fail)
    with pytest.raises(UnsegError, match=r"^TRACKER mlflow cannot open a run: no server$"):
        open_tracker("mlflow", tmp_path, {})


class Unreachable:
    """A service that takes one report and is gone."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def log(self, iteration: int, values: object) -> None:
        if self.taken:
            raise ConnectionError("")
        self.taken.append(iteration)

    def close(self) -> None:
        raise RuntimeError("no answer.\nTraceback")


def test_a_service_that_fails_ends_no_training(caplog: pytest.LogCaptureFixture) -> None:
    tracker = GuardedTracker(Unreachable(), "mlflow")
    for iteration in (19, 39, 59):
        tracker.log(iteration, {"total_loss": 1.0})
    tracker.close()
    assert caplog.messages == [
        "TRACKER mlflow did not take the numbers of iteration 39: ConnectionError. The training continues; all numbers "
        "are in metrics.json.",
        "TRACKER mlflow did not end its run: no answer.",
        "TRACKER mlflow did not take 2 reports in all.",
    ]
