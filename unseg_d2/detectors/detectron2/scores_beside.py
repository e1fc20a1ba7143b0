"""Scores of an evaluation while Detectron2's loop continues: collected by its tools, scored by `detectors.scoring`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils.events import EventWriter, TensorboardXWriter
from fvcore.common.config import CfgNode
from msgspec.structs import replace

from unseg_d2.description import measured
from unseg_d2.detectors.detectron2.checkpointer import SafeCheckpointer
from unseg_d2.detectors.detectron2.evaluator import ClassAgnosticEvaluator
from unseg_d2.detectors.detectron2.tracking import TrackerWriter
from unseg_d2.detectors.scoring import Found, Scored, Scorer
from unseg_d2.loop.events import REPORTS

logger = logging.getLogger(__name__)


class Collected(DatasetEvaluator):
    """Collects what the network finds in a data set, and computes no metrics.

    Args:
        evaluator: that would compute them.
        prefix: of their names.
    """

    def __init__(self, evaluator: ClassAgnosticEvaluator, prefix: str) -> None:
        self.evaluator = evaluator
        self.found = Found(prefix, len(evaluator.records), ())

    def reset(self) -> None:
        """See `ClassAgnosticEvaluator.reset`."""
        self.evaluator.reset()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """See `ClassAgnosticEvaluator.process`."""
        self.evaluator.process(inputs, outputs)

    def evaluate(self) -> None:
        """Gather the results of all processes in the main one, as ``found``."""
        self.found = Found(self.found.prefix, self.found.num_images, self.evaluator.collect())


class ScoresBeside(HookBase):
    """Takes the metrics of evaluations when they have become known; for the main process, before the checkpoints.

    Args:
        cfg: recipe.
        checkpointer: whose checkpoints record the metrics.
        writers: of the log.
    """

    def __init__(self, cfg: CfgNode, checkpointer: SafeCheckpointer, writers: Iterable[EventWriter]) -> None:
        self.cfg, self.checkpointer, self.writers = cfg, checkpointer, list(writers)
        self.scorer = Scorer(Path(cfg.OUTPUT_DIR), cfg)

    def after_step(self) -> None:
        """Take what has become known; at the end of the training all of it."""
        self.take(wait=self.trainer.iter + 1 >= self.trainer.max_iter)

    def keep(self, iteration: int, found: Iterable[Found]) -> None:
        """Keep what an evaluation has found, and begin to score it."""
        self.take(wait=True)  # one at a time
        self.scorer.keep(iteration, found)

    def take(self, *, wait: bool = False) -> None:
        """Log the metrics that have become known at their own iterations, and record them in checkpoints."""
        while (scored := self.scorer.take(wait=wait)) is not None:
            self._log(scored)
            known = measured(self.cfg.DATASETS.TEST, scored.iteration, scored.metrics)
            self.checkpointer.about = replace(self.checkpointer.about, measured=known)
            scored.record(known)
            scored.discard()

    def _log(self, scored: Scored) -> None:
        """Write metrics where Detectron2's writers write; these leave out what is of an earlier iteration."""
        metrics = scored.metrics
        line = json.dumps({"iteration": scored.iteration, **metrics}, sort_keys=True)
        with (Path(self.cfg.OUTPUT_DIR) / REPORTS).open("a") as file:
            file.write(line + "\n")
        for writer in self.writers:
            if isinstance(writer, TensorboardXWriter):
                for name, value in metrics.items():
                    writer._writer.add_scalar(name, value, scored.iteration)
            elif isinstance(writer, TrackerWriter) and writer.tracker is not None:
                writer.tracker.log(scored.iteration, metrics)
        values = "  ".join(f"{name}: {value:.2f}" for name, value in metrics.items())
        logger.info("Evaluation of iteration %d: %s", scored.iteration, values)
