"""What a self-training run is given, and what its results depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.config.load import as_values
from unseg_d2.data.catalog import find_annotations
from unseg_d2.data.settings import DatasetSettings
from unseg_d2.data.spec import split_spec
from unseg_d2.duration import in_words
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.registry import detector_evaluators
from unseg_d2.jobs.places import LOCAL
from unseg_d2.levels import UNKNOWN, is_within
from unseg_d2.manifest import CODE
from unseg_d2.pseudo.inputs import Inputs, list_inputs
from unseg_d2.recipes import find_recipe
from unseg_d2.registry import code_of_parts
from unseg_d2.training.prediction import weights_identity
from unseg_d2.zoo.download import checksum
from unseg_d2.zoo.store import resolve


@dataclass(frozen=True)
class Plan:
    """What a self-training run is given.

    Attributes:
        config_file: recipe of the first training; its ``ROUNDS.RECIPE`` names that of the rounds.
        opts: KEY VALUE overrides, applied to both recipes.
        output: folder of the run.
        rounds: self-training rounds after the first training.
        images: unlabelled images (folder, COCO json or built-in name); annotations in them are ignored.
        labels: label set to start from instead of making one.
        ground_truth: data set with annotations to evaluate on; empty evaluates nothing.
        num_processes: training processes, one per GPU.
        num_workers: processes that make pseudo-masks; ``None`` is one per GPU, or one per core.
        run_on: where masks are made and predicted: ``local``, or ``ray`` for the machines of a Ray cluster.
        schedules: KEY VALUE overrides of each training, the first one and those of the rounds, where the run was
            planned for a time; empty takes the recipes' own.
        expected: seconds that each step will take, by ``round N: STEP``, where the run was planned.
    """

    config_file: str
    opts: tuple[Any, ...]
    output: Path
    rounds: int
    images: str
    labels: str = ""
    ground_truth: str = ""
    num_processes: int = 1
    num_workers: int | None = None
    run_on: str = LOCAL
    schedules: tuple[tuple[Any, ...], ...] = ()
    expected: Mapping[str, float] = field(default_factory=dict)

    def settings(self, inputs: Inputs | None = None) -> dict[str, Any]:
        """Return everything that the results depend on except the number of rounds, which may grow.

        Args:
            inputs: the unlabelled images, where they have been listed.

        Raises:
            UnsegError: a recipe, an annotation file or the first checkpoint is not there.
        """
        first = self.recipe(0)
        code = code_of_parts(first).get(CODE, {}) | code_of_parts(self.recipe(1)).get(CODE, {})
        weights = resolve(first.MODEL.WEIGHTS) if first.MODEL.WEIGHTS else ""
        inputs = inputs or self.inputs()
        listed = {"num_images": len(inputs)} if inputs else {}
        return {
            **listed,
            "recipes": {"first": as_values(first), "rounds": as_values(self.recipe(1))},
            "images": self.images,
            "labels": self.labels,
            "ground_truth": self.ground_truth,
            "num_processes": self.num_processes,
            "checksums": {
                "labels": checksum(find_annotations(self.labels, first)) if self.labels else "",
                "ground_truth": checksum(find_annotations(self.ground_truth, first)) if self.ground_truth else "",
                "weights": weights_identity(weights),
                **({"images": inputs.checksum} if inputs else {}),
            },
            **({CODE: code} if code else {}),
        }

    def inputs(self) -> Inputs | None:
        """List the unlabelled images; ``None`` where the run starts from a label set."""
        return list_inputs(self.images, self.recipe(0), without=self.output) if self.images else None

    def recipe(self, round_index: int) -> CfgNode:
        """Return the configuration of a round, before its inputs are filled in."""
        own = self.schedules[min(round_index, len(self.schedules) - 1)] if self.schedules else ()
        cfg = load_cfg(self.config_file, (*self.opts, *own))
        if round_index > 0 and cfg.ROUNDS.RECIPE:
            cfg = load_cfg(find_recipe(self.config_file).parent / cfg.ROUNDS.RECIPE, (*self.opts, *own))
        if cfg.MODEL.ROI_HEADS.NUM_CLASSES != 1:
            raise UnsegError(
                f"MODEL.ROI_HEADS.NUM_CLASSES is {cfg.MODEL.ROI_HEADS.NUM_CLASSES}, but pseudo-masks have no classes: "
                "set it to 1 for self-training."
            )
        if self.ground_truth:
            detector_evaluators(cfg)  # before anything is made
        return cfg

    def idle_rounds(self) -> str:
        """Say why no round would train on what was detected: detections state no granularity; else return nothing."""
        interval = DatasetSettings.from_config(self.recipe(1)).granularity
        if self.rounds < 1 or is_within(np.array([UNKNOWN]), interval).all():
            return ""
        return (
            f"DATASETS.GRANULARITY ends at {interval[1]:g}, but detections state no granularity and count as "
            f"{UNKNOWN:g}, so that the rounds would train on none of them; let it end at {UNKNOWN:g} in the recipe of "
            "the rounds (ROUNDS.RECIPE), or make none (--rounds 0)."
        )

    def files(self) -> list[Path]:
        """Return the files and folders that it names, of those that are there."""
        names = [self.images, self.labels, self.ground_truth, self.config_file, str(self.recipe(0).MODEL.WEIGHTS)]
        parts = [part for name in names for part in split_spec(name) if part]
        return [Path(part) for part in parts if Path(part).exists()]

    def iterations_after(self, round_index: int) -> int:
        """Return the iterations of the trainings after a round's; -1 where the run was planned for a time."""
        if self.schedules:
            return -1
        return sum(self.recipe(later).SOLVER.MAX_ITER for later in range(round_index + 1, self.rounds + 1))

    def remaining(self, round_index: int, name: str) -> str:
        """Say how long a step and all that follow will take, where the run was planned; else nothing."""
        steps = list(self.expected)
        step = f"round {round_index}: {name.replace('_', ' ')}"
        if step not in steps:
            return ""
        left = sum(self.expected[later] for later in steps[steps.index(step) :])
        return f", about {in_words(self.expected[step])}; {in_words(left)} left in all"
