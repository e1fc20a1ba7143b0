"""Train one detector: rescale the recipe, launch the processes, return the checkpoint."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.config.load import as_values
from unseg_d2.config.scaling import scale_to_world_size
from unseg_d2.data.builtin import BUILTIN
from unseg_d2.data.catalog import find_annotations
from unseg_d2.detectors.protocol import Engine
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.registry import detector_evaluators
from unseg_d2.files import atomic_write, write_json
from unseg_d2.loop.best import check_best, chosen_checkpoint, refuse_choices
from unseg_d2.loop.checkpoint import has_checkpoint, last_checkpoint
from unseg_d2.loop.machines import ONE_MACHINE, Machines, is_main_process, under_torchrun
from unseg_d2.loop.outlook import FOLLOWING
from unseg_d2.loop.restart import set_aside
from unseg_d2.loop.trackers import check_tracker
from unseg_d2.manifest import TRAINING, changes, describe, read_manifest, resume_or_refuse
from unseg_d2.pseudo.label_set import info_of, labels_file
from unseg_d2.pseudo.tally import check_not_empty
from unseg_d2.registry import code_of_parts
from unseg_d2.settings import defaults_below
from unseg_d2.training.prediction import weights_identity
from unseg_d2.zoo.download import checksum
from unseg_d2.zoo.store import resolve

PLUGINS_FILE = "plugins.json"
"""Beside ``config.yaml``: the code of the plug-ins that a training depends on."""

RECORD = "training.json"
"""What a training was made from: engine, recipe, and the content of its data sets and of the weights it began with."""

logger = logging.getLogger(__name__)


def begin_or_resume(
    engine: Engine, cfg: CfgNode, *, num_processes: int = 1, machines: Machines = ONE_MACHINE, restart: bool = False
) -> Path:
    """Train a detector, or resume the one in ``OUTPUT_DIR`` where it is the same.

    Args:
        engine: see :func:`train`.
        cfg: see :func:`train`.
        num_processes: see :func:`train`.
        machines: see :func:`train`.
        restart: set the training in ``OUTPUT_DIR`` aside and begin anew.

    Raises:
        UnsegError: a data set or the weights are not there, or the folder holds a training of something else.
    """
    world_size = _world_size(num_processes, machines)
    origin = made_from(engine, scale_to_world_size(cfg, world_size)[0], world_size)
    output = Path(cfg.OUTPUT_DIR)
    resume = not restart and has_checkpoint(output)
    if resume:
        _check_origin(output, origin)
    if is_main_process(machines):
        if restart:
            set_aside(output)
        write_json(output / RECORD, origin, indent=1)
    return train(engine, cfg, num_processes=num_processes, machines=machines, resume=resume)


def made_from(engine: Engine, cfg: CfgNode, world_size: int) -> dict[str, Any]:
    """Return everything that the result of a training depends on, as plain values.

    Args:
        engine: that trains.
        cfg: recipe, scaled to the number of processes.
        world_size: number of processes.

    Raises:
        UnsegError: a data set or the weights are not there.
    """
    weights = resolve(cfg.MODEL.WEIGHTS) if cfg.MODEL.WEIGHTS else ""
    return {
        "engine": engine.name,
        "processes": world_size,
        "recipe": as_values(edited(cfg, {"DATASETS.TRAIN": (), "MODEL.WEIGHTS": ""})),
        "weights": weights_identity(weights),
        "labels": [_content(name, cfg, engine) for name in cfg.DATASETS.TRAIN],
        **code_of_parts(cfg, without=("TEST.",)),
    }


def _content(dataset: str, cfg: CfgNode, engine: Engine) -> str:
    """Return the sha256 of the annotations of a data set; one that is registered with Detectron2 is known by name."""
    try:
        return checksum(find_annotations(dataset, cfg))
    except UnsegError:
        if engine.name != "detectron2" or ".json" in dataset or dataset in BUILTIN:
            raise
        return dataset


def _check_origin(output: Path, origin: dict[str, Any]) -> None:
    """Refuse to resume a training of something else; earlier versions did not record what it was."""
    if not (output / RECORD).is_file():
        return
    remedy = f"choose another --output, or begin anew with --restart, which keeps what is in {output}"
    resume_or_refuse(
        read_manifest(output / RECORD, remedy),
        json.loads(json.dumps(origin)),
        holds=f"{output} holds a training that began",
        may_change=[f"recipe.{key}" for key in TRAINING],
        warned=("processes",),
        remedy=remedy,
        causes="recipe.",
        gained=defaults_below("recipe"),
    )


def _world_size(num_processes: int, machines: Machines) -> int:
    return int(os.environ["WORLD_SIZE"]) if under_torchrun() else num_processes * machines.number


def train(
    engine: Engine,
    cfg: CfgNode,
    *,
    num_processes: int = 1,
    machines: Machines = ONE_MACHINE,
    resume: bool = False,
    following: int = 0,
) -> Path:
    """Train a detector.

    Args:
        engine: the engine that trains.
        cfg: frozen recipe; it is rescaled to the number of processes where it states a reference.
        num_processes: training processes of this machine, one per GPU; ignored under torchrun, which has started them.
        machines: those that take part.
        resume: resume from the last checkpoint in ``OUTPUT_DIR``, if there is one; a recipe that has changed since is
            followed, and the log names the changes.
        following: iterations of later trainings of the same run, for the time that the log foresees; -1 where it was
            planned.

    Returns:
        ``OUTPUT_DIR/model_final.pth``, in Detectron2's format; with ``TEST.BEST`` ``model_best.pth``.

    Raises:
        UnsegError: a label set has no mask, the recipe cannot be divided, or the training fails; see the engine.
    """
    for labels in map(labels_file, cfg.DATASETS.TRAIN):
        if labels.is_file():
            check_not_empty(info_of(labels), labels)
    check_choices(engine, cfg)
    if cfg.DATASETS.TEST:
        detector_evaluators(cfg)  # now, and not only when the first evaluation is due
    cfg, arithmetic = scale_to_world_size(cfg, _world_size(num_processes, machines))
    for line in arithmetic:
        logger.info(line)
    output = Path(cfg.OUTPUT_DIR)
    code = code_of_parts(cfg, without=("TEST.",))
    if resume and last_checkpoint(output) is not None:
        _say_what_changed(output, cfg, code)
    if code:
        write_json(output / PLUGINS_FILE, code, indent=1)
    with atomic_write(output / "config.yaml") as file:
        file.write(cfg.dump().encode())
    engine.launch(_train, num_processes, (engine, cfg, resume, following), machines)
    return chosen_checkpoint(output, cfg.TEST.BEST)


def check_choices(engine: Engine, cfg: CfgNode) -> None:
    """Refuse, before any work, what an engine or this installation cannot do of a recipe's choices for its trainings.

    Args:
        engine: that trains.
        cfg: recipe, with its data sets.

    Raises:
        UnsegError: the library of the tracker is missing, or nothing decides which checkpoint is the best.
    """
    check_tracker(cfg.TRACKER)
    if engine.name == "detectron2":
        refuse_choices(cfg, "ENGINE detectron2")
    check_best(cfg)


def _say_what_changed(output: Path, cfg: CfgNode, code: dict[str, dict[str, str]]) -> None:
    """Name the keys and plug-ins that differ from what the training had before; all of them may change."""
    path = output / "config.yaml"
    try:
        before = yaml.safe_load(path.read_text()) if path.is_file() else None
    except yaml.YAMLError:
        before = None
    if not isinstance(before, dict):
        logger.warning("%s is missing or damaged, so changes of the recipe cannot be named.", path)
        return
    now = as_values(cfg)
    if (output / PLUGINS_FILE).is_file():  # earlier versions did not write it
        before |= read_manifest(output / PLUGINS_FILE, "delete it")
        now |= code
    found = changes(before, now)
    if found:
        logger.info("Resuming with another recipe than before: %s.", describe(found))


def _train(engine: Engine, cfg: CfgNode, resume: bool, following: int) -> None:
    """Train in one of the launched processes."""
    FOLLOWING.set(following)
    engine.train(cfg, resume=resume)
