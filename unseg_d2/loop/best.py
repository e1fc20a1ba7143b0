"""The best checkpoint of a training, chosen by a metric of its evaluations.

``model_best.pth`` holds the weights alone, and ``best.json`` beside it says which iteration they are of and how good
they were. An evaluation comes before the checkpoint of its iteration, so a training that was killed evaluates again
what it had not yet passed, and ends with the same file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.files import write_json
from unseg_d2.loop.checkpoint import FINAL
from unseg_d2.settings import all_settings, look_up

BEST = "model_best.pth"
"""Name of the checkpoint with the best metric."""
RECORD = "best.json"
"""Beside it: ``{"metric", "value", "iteration"}``."""

OF_BUILTIN_NETWORKS = ("MODEL.CHANNELS_LAST", "MODEL.COMPILE")
OF_BUILTIN_TRAININGS = ("SOLVER.EMA_DECAY", "SOLVER.ACCUMULATE", "TEST.BEST", "DATASETS.HELD_OUT")

logger = logging.getLogger(__name__)


class BestCheckpoint:
    """Keeps the checkpoint of the iteration with the highest value of a metric; of equal values, the first.

    Args:
        folder: of the training.
        metric: name in the metrics, such as ``segm/AP``.
        resume: whether what an earlier process of this training kept still counts.
    """

    def __init__(self, folder: Path, metric: str, *, resume: bool) -> None:
        self.folder, self.metric = folder, metric
        self.value = -float("inf")
        before = best_of(folder) if resume else None
        if before and before["metric"] == metric:
            self.value = float(before["value"])
        else:
            (folder / RECORD).unlink(missing_ok=True)
            (folder / BEST).unlink(missing_ok=True)

    def offer(self, iteration: int, metrics: Mapping[str, float], write: Callable[[Path], None]) -> None:
        """Keep the network as it is now if it is better than all before.

        Args:
            iteration: from 0.
            metrics: of the network.
            write: writes its weights to a file.

        Raises:
            UnsegError: there is no such metric.
        """
        if self.metric not in metrics:
            hint = nearest(self.metric, metrics)
            raise UnsegError(f"TEST.BEST is {self.metric}, but the evaluation has {', '.join(metrics)}.{hint}")
        value = metrics[self.metric]
        if not value > self.value:  # NaN is never better
            return
        self.value = value
        write(self.folder / BEST)
        write_json(self.folder / RECORD, {"metric": self.metric, "value": value, "iteration": iteration})
        logger.info("The best checkpoint so far: %s %.2f, kept as %s.", self.metric, value, self.folder / BEST)


def best_of(folder: Path) -> dict[str, Any] | None:
    """Return the record of the best checkpoint in a folder, ``None`` where there is none."""
    if not (folder / BEST).is_file():
        return None
    try:
        found = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"metric", "value", "iteration"} <= found.keys() else None


def chosen_checkpoint(folder: Path, metric: str) -> Path:
    """Return the checkpoint that a finished training is known by, and say which one it is where there is a choice.

    Args:
        folder: of the training.
        metric: ``TEST.BEST``; empty takes the final one.
    """
    if not metric:
        return folder / FINAL
    found = best_of(folder)
    if found is None:
        logger.warning("%s was never defined, so the last checkpoint counts: %s.", metric, folder / FINAL)
        return folder / FINAL
    at = f"{metric} {found['value']:.2f} after iteration {found['iteration']}"
    logger.info("The best checkpoint counts, %s, with %s; %s is the last.", folder / BEST, at, FINAL)
    return folder / BEST


def check_best(cfg: CfgNode) -> None:
    """Refuse a choice of the best checkpoint that nothing decides, before any work.

    Raises:
        UnsegError: no evaluation is due, there is nothing to evaluate on, or images are set aside for nothing.
    """
    if cfg.DATASETS.HELD_OUT and not cfg.TEST.BEST:
        raise UnsegError("DATASETS.HELD_OUT sets images aside that TEST.BEST is computed on; name a metric there.")
    if not cfg.TEST.BEST:
        return
    if not cfg.TEST.EVAL_PERIOD:
        raise UnsegError("TEST.BEST needs evaluations to choose from: set TEST.EVAL_PERIOD to a number of iterations.")
    if not cfg.DATASETS.TEST and not cfg.DATASETS.HELD_OUT:
        raise UnsegError(
            "TEST.BEST needs something to evaluate on: name ground truth (--gt), or set DATASETS.HELD_OUT to the share "
            "of the training images that is set aside, such as 0.1."
        )
    if cfg.DATASETS.TEST and cfg.DATASETS.HELD_OUT:
        logger.info("DATASETS.HELD_OUT has no effect: the ground truth in DATASETS.TEST decides which is best.")


def refuse_choices(cfg: CfgNode, who: str) -> None:
    """Refuse what only trainings of the built-in engine do, where it would have no effect.

    Raises:
        UnsegError: one of these keys is set.
    """
    refuse_keys(cfg, (*OF_BUILTIN_TRAININGS, *OF_BUILTIN_NETWORKS), who)


def refuse_keys(cfg: CfgNode, keys: Iterable[str], who: str) -> None:
    """Refuse keys that have no effect.

    Args:
        cfg: recipe, which need not have all of the keys.
        keys: of settings.
        who: ignores them, in words.

    Raises:
        UnsegError: one of them has another value than its default.
    """
    defaults = dict(all_settings())
    for key in keys:
        section, _, name = key.rpartition(".")
        default = defaults[key].default
        if look_up(cfg, section).get(name, default) != default:
            raise UnsegError(f"{key} has no effect with {who}; leave it out, or take ENGINE builtin.")
