"""The record of finished steps that makes a self-training run resumable."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json


@dataclass
class Step:
    """A finished step.

    Attributes:
        round: 0 for the first training, k for the k-th self-training round.
        name: masks, score_masks, train, evaluate, predict or merge.
        output: the file it made, relative to the run's folder.
        seconds: wall-clock time of the last attempt.
    """

    round: int
    name: str
    output: str
    seconds: float = 0.0


class RunState:
    """``rounds.json``: the settings of a run and its finished steps, rewritten after each of them."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Open the state of a run, or start it.

        Args:
            folder: the run's folder.
            settings: what the result depends on; a folder made with other settings is refused.

        Raises:
            UnsegError: ``rounds.json`` is damaged or belongs to another run.
        """
        self.path = folder / "rounds.json"
        self.settings = json.loads(json.dumps(settings))
        self.steps: list[Step] = []
        if self.path.is_file():
            self._read()
        else:
            self._write()

    def find(self, round_index: int, name: str) -> Step | None:
        """Return a finished step, or ``None``."""
        matching = (step for step in self.steps if (step.round, step.name) == (round_index, name))
        return next(matching, None)

    def finish(self, step: Step) -> None:
        """Record a step as finished."""
        self.steps.append(step)
        self._write()

    def _read(self) -> None:
        try:
            stored = json.loads(self.path.read_text())
            self.steps = [Step(**step) for step in stored["steps"]]
            settings = stored["settings"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UnsegError(f"{self.path} is damaged ({error}); choose another --output or delete the file.") from None
        different = sorted(key for key in self.settings if settings.get(key) != self.settings[key])
        if different:
            raise UnsegError(
                f"{self.path.parent} holds a run with other settings ({', '.join(different[:5])}); "
                "choose another --output or repeat the command that started it."
            )

    def _write(self) -> None:
        write_json(self.path, {"settings": self.settings, "steps": [asdict(step) for step in self.steps]}, indent=1)
