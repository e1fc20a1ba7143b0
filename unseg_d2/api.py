"""The commands for whole folders as functions: the recipe and its overrides come first, the rest is passed by name."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from unseg_d2.config.recipe import Recipe, flat_options, load_recipe
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import summarise
from unseg_d2.training import rounds as self_training
from unseg_d2.training.plan import Plan

logger = logging.getLogger(__name__)


def generate_masks(
    recipe: Recipe,
    *overrides: Any,
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    num_workers: int | None = 0,
) -> Path:
    """Make pseudo-masks for many images: a label set in COCO format. Interrupted, the same call resumes.

    Args:
        recipe: a YAML file, the name of a shipped recipe such as ``configs/quickstart.yaml``, or a configuration.
        *overrides: settings that differ from it: alternating keys and values, ``"MASKS.GENERATOR", "votecut"``, or one
            mapping.
        images: folder, COCO file (``labels.json`` or ``labels.json::image/root``) or name of a built-in data set.
        output: folder of the label set; images that cannot be used are listed in its ``failures.jsonl``.
        num_workers: processes; 0 works in this one, ``None`` takes one per GPU, or one per core. With more than 0, a
            script needs ``if __name__ == "__main__":``, as always with processes that Python spawns.

    Returns:
        ``output/labels.json``, for :func:`read_label_set`. The log ends with the number of masks, that of images
        without one, and what to change if those are many; ``info["counts"]`` holds the numbers.

    Raises:
        UnsegError: a recipe, key or folder does not exist, none of the images can be used, the folder holds another
            label set, or the disk is full.
    """
    cfg = load_recipe(recipe, *overrides)
    labels = generate_label_set(cfg, os.fspath(images), Path(output), num_workers=num_workers)
    assert labels is not None  # only a share of the images, which this function never asks for, has no labels.json
    for line in summarise(Path(output)).splitlines():
        logger.info("%s", line)
    return labels


def self_train(
    recipe: str | os.PathLike[str],
    *overrides: Any,
    output: str | os.PathLike[str],
    images: str | os.PathLike[str] = "",
    labels: str | os.PathLike[str] = "",
    rounds: int = 1,
    ground_truth: str | os.PathLike[str] = "",
    num_processes: int = 1,
    num_workers: int | None = 0,
    restart: bool = False,
) -> self_training.Result:
    """Train a detector from unlabelled images: pseudo-masks, a first training, self-training rounds.

    Every finished step is recorded in ``output/rounds.json``: interrupted, the same call resumes, and a call with more
    rounds continues.

    Args:
        recipe: YAML file or name of a shipped recipe; its ``ROUNDS.RECIPE`` names that of the rounds.
        *overrides: settings that differ from both: alternating keys and values, ``"SOLVER.MAX_ITER", 100``, or one
            mapping.
        output: folder of the run.
        images: unlabelled images: folder, COCO file or name of a built-in data set; annotations in them are ignored.
        labels: label set to start from, instead of making one from ``images``.
        rounds: self-training rounds after the first training; 0 trains once.
        ground_truth: data set with annotations to evaluate every round on; without it nothing is evaluated.
        num_processes: training processes, one per GPU. With several, a script needs ``if __name__ == "__main__":``.
        num_workers: processes that make pseudo-masks, see :func:`generate_masks`.
        restart: set the run in ``output`` aside, in ``before_1`` there, and begin anew.

    Returns:
        The paths ``weights`` (for :meth:`Detector.load`), ``gallery`` and ``plot``, and the metrics, ``rows``.

    Raises:
        UnsegError: an input is missing or damaged, ``output`` holds another run, or a training fails.
    """
    if bool(images) == bool(labels):
        raise UnsegError("Name what to learn from: either images=... or, to start from a label set, labels=...")
    if rounds < 0:
        raise UnsegError(f"rounds is {rounds}, but must be 0 or more.")
    plan = Plan(
        config_file=os.fspath(recipe),
        opts=tuple(flat_options(overrides)),
        output=Path(output),
        rounds=rounds,
        images=os.fspath(images),
        labels=os.fspath(labels),
        ground_truth=os.fspath(ground_truth),
        num_processes=num_processes,
        num_workers=num_workers,
    )
    return self_training.self_train(plan, restart=restart)
