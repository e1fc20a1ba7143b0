"""Train one detector: rescale the recipe, launch the processes, return the checkpoint."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import yaml
from fvcore.common.config import CfgNode

from unseg_d2.config.load import as_values
from unseg_d2.config.scaling import scale_to_world_size
from unseg_d2.detectors.protocol import Engine
from unseg_d2.evaluation.registry import detector_evaluators
from unseg_d2.files import atomic_write, write_json
from unseg_d2.loop.checkpoint import last_checkpoint
from unseg_d2.loop.machines import ONE_MACHINE, Machines, under_torchrun
from unseg_d2.manifest import changes, describe, read_manifest
from unseg_d2.registry import code_of_parts

PLUGINS_FILE = "plugins.json"
"""Beside ``config.yaml``: the code of the plug-ins that a training depends on."""

logger = logging.getLogger(__name__)


def train(
    engine: Engine, cfg: CfgNode, *, num_processes: int = 1, machines: Machines = ONE_MACHINE, resume: bool = False
) -> Path:
    """Train a detector.

    Args:
        engine: the engine that trains.
        cfg: frozen recipe; it is rescaled to the number of processes where it states a reference.
        num_processes: training processes of this machine, one per GPU; ignored under torchrun, which has started them.
        machines: those that take part.
        resume: resume from the last checkpoint in ``OUTPUT_DIR``, if there is one; a recipe that has changed since is
            followed, and the log names the changes.

    Returns:
        ``OUTPUT_DIR/model_final.pth``, in Detectron2's format.

    Raises:
        UnsegError: the recipe cannot be divided, or the training fails; see the engine.
    """
    if cfg.DATASETS.TEST:
        detector_evaluators(cfg)  # now, and not only when the first evaluation is due
    world_size = int(os.environ["WORLD_SIZE"]) if under_torchrun() else num_processes * machines.number
    cfg, arithmetic = scale_to_world_size(cfg, world_size)
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
    engine.launch(_train, num_processes, (engine, cfg, resume), machines)
    return output / "model_final.pth"


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


def _train(engine: Engine, cfg: CfgNode, resume: bool) -> None:
    """Train in one of the launched processes."""
    engine.train(cfg, resume=resume)
