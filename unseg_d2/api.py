"""The commands for whole folders as functions: the recipe and its overrides come first, the rest is passed by name."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from unseg_d2.config.recipe import Recipe, flat_options, load_recipe
from unseg_d2.errors import UnsegError
from unseg_d2.groups.group_masks import group_label_set
from unseg_d2.jobs.places import LOCAL
from unseg_d2.planning.plan import DEFAULT_BUDGET, Request, plan_run
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import summarise
from unseg_d2.training import rounds as self_training

logger = logging.getLogger(__name__)


def generate_masks(
    recipe: Recipe,
    *overrides: Any,
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    num_workers: int | None = 0,
    run_on: str = LOCAL,
) -> Path:
    """Make pseudo-masks for many images: a label set in COCO format. Interrupted, the same call resumes.

    Args:
        recipe: a YAML file, the name of a shipped recipe such as ``configs/quickstart.yaml``, or a configuration.
        *overrides: settings that differ from it: alternating keys and values, ``"MASKS.GENERATOR", "votecut"``, or one
            mapping.
        images: folder, tar or parquet files, address or pattern (``docs/inputs.md``), COCO file (``labels.json`` or
            ``labels.json::image/root``) or name of a built-in data set.
        output: folder of the label set; images that cannot be used are listed in its ``failures.jsonl``.
        num_workers: processes; 0 works in this one, ``None`` takes one per GPU, or one per core. With more than 0, a
            script needs ``if __name__ == "__main__":``, as always with processes that Python spawns.
        run_on: ``"local"`` for this machine, ``"ray"`` for the machines of a Ray cluster, see ``docs/clusters.md``.

    Returns:
        ``output/labels.json``, for :func:`read_label_set`. The log ends with the number of masks, that of images
        without one, and what to change if those are many; ``info["counts"]`` holds the numbers.

    Raises:
        UnsegError: a recipe, key or folder does not exist, none of the images can be used, the folder holds another
            label set, or the disk is full.
    """
    cfg = load_recipe(recipe, *overrides)
    labels = generate_label_set(cfg, os.fspath(images), Path(output), num_workers=num_workers, run_on=run_on)
    for line in summarise(Path(output)).splitlines():
        logger.info("%s", line)
    return labels


def group_masks(
    recipe: Recipe | None = None,
    *overrides: Any,
    labels: str | os.PathLike[str],
    output: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    ground_truth: str | os.PathLike[str] | None = None,
    prototypes: str | os.PathLike[str] | None = None,
    names: str | os.PathLike[str] | None = None,
) -> Path:
    """Put masks into groups that look alike: a label set with a category for each. Interrupted, the same call resumes.

    Args:
        recipe: a YAML file, the name of a shipped recipe, or a configuration; its ``FEATURES`` describe the masks, and
            its ``GROUPS`` say how groups are found.
        *overrides: settings that differ from it, such as ``"GROUPS.NUMBER", 20``; see :func:`generate_masks`.
        labels: label set (COCO file or folder), or COCO results together with ``ground_truth``.
        output: folder of the new label set, of the page that shows the groups, and of their prototypes.
        images: folder of the images; if omitted, it is searched for near ``labels``.
        ground_truth: data set that results are for, which names their images.
        prototypes: output of another grouping, whose groups and names are taken for these masks.
        names: file of names that the page has saved; groups of one name become one class.

    Returns:
        ``output/labels.json``, for :func:`read_label_set`; each annotation has a ``group_confidence`` in [0, 1].

    Raises:
        UnsegError: a file is missing or damaged, ``output`` holds something else, there are too few masks, or the extra
            ``groups`` is not installed.
    """
    cfg = load_recipe(recipe, *overrides)
    places = {"images": images, "ground_truth": ground_truth, "prototypes": prototypes, "names": names}
    named = {name: None if path is None else os.fspath(path) for name, path in places.items()}
    grouped = group_label_set(cfg, os.fspath(labels), os.fspath(output), **named)
    for line in grouped.lines():
        logger.info("%s", line)
    return grouped.labels


def self_train(
    recipe: str | os.PathLike[str] = "",
    *overrides: Any,
    output: str | os.PathLike[str],
    images: str | os.PathLike[str] = "",
    labels: str | os.PathLike[str] = "",
    rounds: int = 1,
    ground_truth: str | os.PathLike[str] = "",
    num_processes: int | None = None,
    num_workers: int | None = 0,
    run_on: str = LOCAL,
    restart: bool = False,
    budget: str = "",
    features: str = "",
) -> self_training.Result:
    """Train a detector on unlabelled images: pseudo-masks, a first training, self-training rounds.

    Without a recipe everything follows from the images, the machine and a budget of time: features and detector, batch,
    iterations and checkpoints. The plan is printed, and kept in ``output/schedule.json``. Every finished step is
    recorded in ``output/rounds.json``: interrupted, the same call resumes, and a call with more rounds of a recipe
    continues.

    Args:
        recipe: YAML file or name of a shipped recipe; its ``ROUNDS.RECIPE`` names that of the rounds.
        *overrides: settings that differ from both: alternating keys and values, ``"SOLVER.MAX_ITER", 100``, or one
            mapping.
        output: folder of the run.
        images: unlabelled images, named as for :func:`generate_masks`; annotations in them are ignored.
        labels: label set to start from, instead of making one from ``images``.
        rounds: self-training rounds after the first training; 0 trains once.
        ground_truth: data set with annotations to evaluate every round on; without it nothing is evaluated.
        num_processes: training processes, one per GPU; ``None`` takes one with a recipe, and all GPUs without. With
            several, a script needs ``if __name__ == "__main__":``.
        num_workers: processes that make pseudo-masks, see :func:`generate_masks`.
        run_on: where masks are made and predicted, see :func:`generate_masks`; trainings run on this machine.
        restart: set the run in ``output`` aside, in ``before_1`` there, and begin anew.
        budget: without a recipe, the time for everything, such as ``"20m"`` or ``"1d"``; by default two hours.
        features: without a recipe, ``"dino"``, ``"offline"`` (a backbone of the package index, trained with ImageNet's
            labels) or ``"descriptors"`` (for trying things out); by default the first of the first two that can be had.

    Returns:
        The paths ``weights`` (for :meth:`Detector.load`), ``gallery`` and ``plot``, and the metrics, ``rows``.

    Raises:
        UnsegError: an input is missing or damaged, ``output`` holds another run, the budget is too short, or a training
            fails.
    """
    if bool(images) == bool(labels):
        raise UnsegError("Name what to learn from: either images=... or, to start from a label set, labels=...")
    if rounds < 0:
        raise UnsegError(f"rounds is {rounds}, but must be 0 or more.")
    if recipe and (budget or features):
        raise UnsegError("A recipe states its own schedule and features: leave the recipe out, or budget and features.")
    request = Request(
        images=os.fspath(images),
        output=Path(output),
        budget=budget or DEFAULT_BUDGET,
        rounds=rounds,
        features=features or "auto",
        opts=tuple(flat_options(overrides)),
        ground_truth=os.fspath(ground_truth),
        labels=os.fspath(labels),
        num_processes=num_processes or 0,
        num_workers=num_workers,
        run_on=run_on,
    )
    if recipe:
        return self_training.self_train(request.with_recipe(os.fspath(recipe)), restart=restart)
    return self_training.self_train(plan_run(request, restart=restart))
