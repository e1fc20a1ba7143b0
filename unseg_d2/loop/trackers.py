"""What a training reports, sent on to a service that keeps runs: Weights & Biases or MLflow, by their own libraries.

Where the service is, and who one is there, is said as these libraries want it: ``WANDB_PROJECT``, ``WANDB_MODE``,
``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``. ``tracker.json`` beside the checkpoints remembers the run, so that
a training that resumes does so in the same one.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json

RECORD = "tracker.json"
PROJECT = "unseg-d2"
"""Project or experiment where the library's own variable names none."""


logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """Takes the numbers of a run."""

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Send finite numbers, by name, of an iteration."""

    def close(self) -> None:
        """Send what is left, and end the run there."""


def check_tracker(name: str) -> None:
    """Refuse, before any work, a tracker whose library is not installed.

    Raises:
        UnsegError: it is not.
    """
    if name and importlib.util.find_spec(name) is None:
        raise UnsegError(f"TRACKER {name} needs the package {name}: pip install 'unseg-d2[{name}]'.")


def open_tracker(name: str, folder: Path, settings: Mapping[str, Any]) -> Tracker | None:
    """Begin a run of a service, or resume the one that a training has begun before.

    Args:
        name: ``TRACKER``: ``wandb``, ``mlflow``, or empty for none.
        folder: of the training; its name is that of the run.
        settings: nested keys and values that the service shows.

    Raises:
        UnsegError: the library is not installed, or cannot open the run.
    """
    if not name:
        return None
    check_tracker(name)
    try:
        tracker = WandbTracker(folder, settings) if name == "wandb" else MLflowTracker(folder, settings)
    except Exception as error:  # whatever the library raises: no login, no server, no disk
        raise UnsegError(f"TRACKER {name} cannot open a run: {_reason(error)}") from error
    return GuardedTracker(tracker, name)


class GuardedTracker:
    """A tracker whose service may fail: what it does not take is in ``metrics.json``, and the training is not ended."""

    def __init__(self, tracker: Tracker, name: str) -> None:
        self._tracker, self._name, self._failed = tracker, name, 0

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """See :class:`Tracker`."""
        try:
            self._tracker.log(iteration, values)
        except Exception as error:  # whatever the library raises
            self._failed += 1
            if self._failed == 1:
                logger.warning(
                    "TRACKER %s did not take the numbers of iteration %d: %s. The training continues; all numbers are "
                    "in metrics.json.",
                    *(self._name, iteration, _reason(error)),
                )

    def close(self) -> None:
        """See :class:`Tracker`."""
        try:
            self._tracker.close()
        except Exception as error:  # whatever the library raises
            logger.warning("TRACKER %s did not end its run: %s.", self._name, _reason(error))
        if self._failed:
            logger.warning("TRACKER %s did not take %d reports in all.", self._name, self._failed)


class WandbTracker:
    """A run of Weights & Biases; its files are in ``folder/wandb``."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        import wandb

        known = _known(folder, "wandb") or uuid.uuid4().hex[:8]
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            dir=str(folder),
            name=folder.name,
            id=known,
            resume="allow",
            config=dict(settings),
        )
        _remember(folder, "wandb", known)
        self._run.define_metric("*", step_metric="iteration")  # iterations may come again after a kill

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """See :class:`Tracker`."""
        self._run.log({"iteration": iteration, **_finite(values)})

    def close(self) -> None:
        """See :class:`Tracker`."""
        self._run.finish()


class MLflowTracker:
    """A run of MLflow."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        import mlflow
        from mlflow.entities import Metric, Param

        self._client: Any = mlflow.MlflowClient()
        self._metric = Metric
        self._id: str = _known(folder, "mlflow")
        if self._id:
            self._client.update_run(self._id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        self._id = self._client.create_run(experiment, run_name=folder.name).info.run_id
        pairs = [(key, str(value)[:MOST_CHARACTERS]) for key, value in _flat(settings)]
        for start in range(0, len(pairs), MOST_AT_ONCE):
            params = [Param(key, value) for key, value in pairs[start : start + MOST_AT_ONCE]]
            self._client.log_batch(self._id, params=params)
        _remember(folder, "mlflow", self._id)

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """See :class:`Tracker`."""
        now = int(1000 * time.time())
        metrics = [self._metric(name, value, now, iteration) for name, value in _finite(values).items()]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self) -> None:
        """See :class:`Tracker`."""
        self._client.set_terminated(self._id)


MOST_AT_ONCE, MOST_CHARACTERS = 100, 500
"""Limits of MLflow's servers: parameters per request, and characters of a value."""


def _reason(error: Exception) -> str:
    """The first line of a message without its full stop, or what kind of error it is."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _known(folder: Path, name: str) -> str:
    """Return the run that a training has begun with a service, empty where it has none."""
    try:
        found = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return ""
    return str(found.get(name, "")) if isinstance(found, dict) else ""


def _remember(folder: Path, name: str, run: str) -> None:
    write_json(folder / RECORD, {name: run})


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in settings.items():
        pairs += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return pairs
