"""Train one detector: rescale the recipe, launch the processes, return the checkpoint."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from fvcore.common.config import CfgNode

from unseg_d2.config.scaling import scale_to_world_size
from unseg_d2.detectors.protocol import Engine
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.loop.machines import ONE_MACHINE, Machines, under_torchrun

logger = logging.getLogger(__name__)


def train(
    engine: Engine, cfg: CfgNode, *, num_processes: int = 1, machines: Machines = ONE_MACHINE, resume: bool = False
) -> Path:
    """Train a detector.

    Args:
        engine: the engine that trains.
        cfg: frozen recipe; it is rescaled to the number of processes where it states a reference.
        num_processes: training processes of this machine, one per GPU; under torchrun those that it started count.
        machines: which ones take part.
        resume: go on from the last checkpoint in ``OUTPUT_DIR``, if there is one.

    Returns:
        ``OUTPUT_DIR/model_final.pth``, in Detectron2's format.

    Raises:
        UnsegError: the recipe is for several classes or cannot be divided, or the training fails; see the engine.
    """
    if cfg.MODEL.ROI_HEADS.NUM_CLASSES != 1:
        raise UnsegError(
            f"MODEL.ROI_HEADS.NUM_CLASSES is {cfg.MODEL.ROI_HEADS.NUM_CLASSES}, but all annotations count as one "
            "class here, whatever their categories; set it to 1."
        )
    world_size = int(os.environ["WORLD_SIZE"]) if under_torchrun() else num_processes * machines.number
    cfg, arithmetic = scale_to_world_size(cfg, world_size)
    for line in arithmetic:
        logger.info(line)
    if not cfg.MODEL.WEIGHTS:
        logger.info("MODEL.WEIGHTS is empty: the network starts from random weights.")
    output = Path(cfg.OUTPUT_DIR)
    with atomic_write(output / "config.yaml") as file:
        file.write(cfg.dump().encode())
    engine.launch(_train, num_processes, (engine, cfg, resume), machines)
    return output / "model_final.pth"


def _train(engine: Engine, cfg: CfgNode, resume: bool) -> None:
    """Train in one of the launched processes."""
    engine.train(cfg, resume=resume)
