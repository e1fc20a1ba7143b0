"""The record of finished steps that makes a self-training run resumable."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from unseg_d2.config.load import as_values, from_values
from unseg_d2.content import Comparison, Content, content_of
from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json
from unseg_d2.loop.checkpoint import last_checkpoint
from unseg_d2.manifest import CODE, SELF_TRAINING, read_manifest, resume_or_refuse
from unseg_d2.zoo.store import PREFIX

RUN_FILE = "rounds.json"
Inputs: TypeAlias = Mapping[str, Path | str]
"""Name of each input of a step to its file, or to settings as text."""
RECIPES = ("first", "rounds")
"""The recipe of the first training and that of the rounds, as ``rounds.json`` names them."""
REMEDY = "choose another --output, repeat the command that started it, or begin anew with --restart, which keeps it"
LEFT_BY_A_RUN = (
    *(RUN_FILE, "schedule.json", "measuring", "round[0-9]*", "model_final.pth", "config.yaml"),
    *("figures.svg", "curves.svg", "gallery.html", "gallery_chunks"),
)
"""What a self-training run leaves in its folder."""

logger = logging.getLogger(__name__)


@dataclass
class Step:
    """A finished step.

    Attributes:
        round: 0 for the first training, k for the k-th self-training round.
        name: masks, score_masks, train, evaluate, predict or merge.
        output: the file it made, relative to the run's folder.
        seconds: wall-clock time of the last attempt.
        inputs: size and sha256 of the files it was made from, or settings as text, by name; ``None`` if not recorded.
    """

    round: int
    name: str
    output: str
    seconds: float = 0.0
    inputs: dict[str, Any] | None = None


class RunState:
    """``rounds.json``: the settings of a run and its finished steps, rewritten after each of them."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Open the state of a run, or start it.

        Args:
            folder: the run's folder.
            settings: what the result depends on, with ``recipes`` by the names of :data:`RECIPES`. A folder made with
                other settings is refused, but for `unseg_d2.manifest.SELF_TRAINING`, another ground truth, moved
                images, the number of processes, unless it changes the schedule of a training that has begun, and,
                before they begin, the recipe of the rounds.

        Raises:
            UnsegError: ``rounds.json`` is damaged or belongs to another run.
        """
        self.path = folder / RUN_FILE
        self.settings = dict(settings)
        self.steps: list[Step] = []
        if not self.path.is_file() or self._differs_from_stored():
            self._write()

    def find(self, round_index: int, name: str) -> Step | None:
        """Return a finished step, or ``None``."""
        matching = (step for step in self.steps if (step.round, step.name) == (round_index, name))
        return next(matching, None)

    def finish(self, step: Step) -> None:
        """Record a step as finished, in place of an earlier one of its name."""
        self.steps = [known for known in self.steps if (known.round, known.name) != (step.round, step.name)]
        self.steps.append(step)
        self._write()

    def why_again(self, step: Step, inputs: Inputs) -> str:
        """Return why a finished step has to be made again: its output is gone, or its inputs are others; else empty.

        Args:
            step: that is finished.
            inputs: what it is to be made from.
        """
        output = self.path.parent / step.output
        if not output.is_file():
            return f"{output} is gone"
        if step.inputs is None:
            return ""
        compared = Comparison(output, output.stat().st_mtime)
        for name, value in inputs.items():
            seen = step.inputs.get(name)
            if isinstance(value, Path):
                changed = compared.has_changed(value, Content(*seen) if seen else None)
            else:
                changed = seen != value
            if changed:
                return f"{name.replace('_', ' ')} has changed since"
        return ""

    def _differs_from_stored(self) -> bool:
        """Read ``rounds.json``, and return whether it has to be rewritten; refuse other settings."""
        content = read_manifest(self.path, REMEDY)
        try:
            self.steps = [Step(**step) for step in content["steps"]]
            stored = _completed(content["settings"], self.settings, str(self.path))
        except (AttributeError, KeyError, TypeError, yaml.YAMLError) as error:
            raise UnsegError(f"{self.path} is damaged ({error}); {REMEDY}.") from None
        except UnsegError as error:
            reason = str(error).rstrip(".")
            raise UnsegError(f"This version cannot resume the run of {self.path} ({reason}); {REMEDY}.") from None
        if "recipes" not in content["settings"] and self._rounds_have_begun():
            logger.warning(
                "%s: the version that began this run did not record the recipe of the rounds; "
                "they are mixed with others if it has changed since.",
                self.path,
            )
        may_change = [f"recipes.{name}.{key}" for name in RECIPES for key in SELF_TRAINING]
        may_change += ["ground_truth", "checksums.ground_truth"]  # what was measured on another one is measured again
        may_change += [name for name in ("images", "labels") if self.settings["checksums"].get(name)]  # by content
        if not self._rounds_have_begun():
            may_change.append("recipes.rounds.")
        if not (self._is_training() and self._is_scaled()):
            may_change.append("num_processes")
        holds = f"{self.path.parent} holds a run that began"
        found = resume_or_refuse(stored, self.settings, holds=holds, may_change=may_change, remedy=REMEDY)
        return bool(found) or stored.keys() != content["settings"].keys()

    def _is_training(self) -> bool:
        """Whether a training has begun and is not finished."""
        folders = [folder for folder in self.path.parent.glob("round[0-9]*") if folder.name[5:].isdigit()]
        return any(last_checkpoint(folder) and not self.find(int(folder.name[5:]), "train") for folder in folders)

    def _is_scaled(self) -> bool:
        """Whether the schedule of a training depends on the number of its processes."""
        solvers = [recipe.get("SOLVER", {}) for recipe in self.settings["recipes"].values()]
        return any(solver.get("REFERENCE_WORLD_SIZE") for solver in solvers)

    def _rounds_have_begun(self) -> bool:
        """Whether a training has seen the recipe of the rounds."""
        return (self.path.parent / "round1" / "config.yaml").is_file()

    def _write(self) -> None:
        write_json(self.path, {"settings": self.settings, "steps": [asdict(step) for step in self.steps]}, indent=1)


def recorded(inputs: Inputs) -> dict[str, Any]:
    """Return what a step records of its inputs."""
    return {name: content_of(value) if isinstance(value, Path) else value for name, value in inputs.items()}


def _completed(stored: Mapping[str, Any], settings: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return stored settings with what an earlier version did not record.

    Keys that recipes have gained since have their default. The recipe of the rounds, checksums and the code of
    plug-ins, where they were not recorded, are taken to be what they are now.
    """
    filled = {key: value for key, value in stored.items() if key != "config"}
    recipes = dict(stored["recipes"]) if "config" not in stored else {"first": yaml.safe_load(stored["config"])}
    known = {name: as_values(from_values(values, path)) for name, values in recipes.items()}
    filled["recipes"] = {**settings["recipes"], **known}
    if CODE in settings:
        filled.setdefault(CODE, settings[CODE])
    filled["checksums"] = {**settings["checksums"], **stored.get("checksums", {})}
    if "num_images" in settings:
        filled.setdefault("num_images", settings["num_images"])
    if str(filled["checksums"].get("weights", "")).startswith(PREFIX):  # earlier versions recorded the name
        filled["checksums"]["weights"] = settings["checksums"]["weights"]
    return filled
