"""Train one detector: rescale the recipe, launch the processes, return the checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path

from fvcore.common.config import CfgNode

from unseg_d2.config.scaling import scale_to_world_size
from unseg_d2.detectors.protocol import Engine
from unseg_d2.files import atomic_write

logger = logging.getLogger(__name__)


def train(engine: Engine, cfg: CfgNode, *, num_processes: int = 1, resume: bool = False) -> Path:
    """Train a detector.

    Args:
        engine: the engine that trains.
        cfg: frozen recipe; it is rescaled to ``num_processes`` where it states a reference.
        num_processes: training processes, one per GPU.
        resume: go on from the last checkpoint in ``OUTPUT_DIR``, if there is one.

    Returns:
        ``OUTPUT_DIR/model_final.pth``, in Detectron2's format.
    """
    cfg, arithmetic = scale_to_world_size(cfg, num_processes)
    for line in arithmetic:
        logger.info(line)
    if not cfg.MODEL.WEIGHTS:
        logger.info("MODEL.WEIGHTS is empty: the network starts from random weights.")
    output = Path(cfg.OUTPUT_DIR)
    with atomic_write(output / "config.yaml") as file:
        file.write(cfg.dump().encode())
    engine.launch(_train, num_processes, (engine, cfg, resume))
    return output / "model_final.pth"


def _train(engine: Engine, cfg: CfgNode, resume: bool) -> None:
    """Train in one of the launched processes."""
    engine.train(cfg, resume=resume)
