"""What an engine offers, and the choice between the two."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.loop.machines import ONE_MACHINE, Machines

ENGINES = {
    "detectron2": ("unseg_d2.detectors.detectron2", "Detectron2Engine"),
    "builtin": ("unseg_d2.detectors.builtin.engine", "BuiltinEngine"),
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a detector finds in one image, best first.

    Attributes:
        record: the data set's record of the image.
        boxes: ``(n, 4)`` float32 xyxy in pixels of the original image.
        scores: ``(n,)`` float32 in [0, 1].
        rles: one compressed COCO run-length encoding per detection, at the original size; empty without masks.
    """

    record: dict[str, Any]
    boxes: np.ndarray
    scores: np.ndarray
    rles: list[dict[str, Any]] = field(default_factory=list)

    def to_coco_results(self, category_id: int = 1) -> list[dict[str, Any]]:
        """Return COCO results: ``image_id``, ``category_id``, ``bbox`` (XYWH), ``score`` and ``segmentation``.

        Args:
            category_id: the one category of a class-agnostic detector.
        """
        corners = self.boxes.astype(np.float64)
        xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
        results = [
            {"image_id": self.record["image_id"], "category_id": category_id, "bbox": box, "score": float(score)}
            for box, score in zip(xywh, self.scores)
        ]
        for result, rle in zip(results, self.rles):
            result["segmentation"] = rle
        return results


class Engine(Protocol):
    """Trains a detector and runs it.

    Attributes:
        name: the value of ``ENGINE`` that selects it.
    """

    name: str

    def launch(
        self, main: Callable[..., None], num_processes: int, args: Sequence[Any], machines: Machines = ONE_MACHINE
    ) -> None:
        """Call ``main(*args)`` in each of ``num_processes`` connected processes, or here when there is one.

        Under ``torchrun`` the process joins the group that it was started in, whatever the other arguments say.
        Several ``machines`` call this with the same arguments, each with its own rank.
        """

    def train(self, cfg: CfgNode, *, resume: bool) -> Path:
        """Train what ``cfg`` describes and return ``OUTPUT_DIR/model_final.pth``.

        Args:
            cfg: frozen recipe.
            resume: go on from the last checkpoint in ``OUTPUT_DIR`` where there is one.
        """

    def predict(self, cfg: CfgNode, records: Sequence[dict[str, Any]], *, weights: str) -> Iterator[Prediction]:
        """Yield the predictions of the records, in their order.

        Args:
            cfg: recipe of the network.
            records: Detectron2's standard dataset dicts; annotations in them are not read.
            weights: checkpoint of the whole network.
        """


def select_engine(name: str = "auto") -> Engine:
    """Return the engine of that name and log which it is and why.

    Args:
        name: ``ENGINE`` of the configuration: "auto" takes Detectron2 where it can be used, else the built-in one.

    Raises:
        UnsegError: the name is unknown, or Detectron2 is asked for and cannot be used (the message says why).
    """
    if name not in ("auto", *ENGINES):
        raise UnsegError(f"Unknown ENGINE '{name}': choose auto, detectron2 or builtin.{nearest(name, ENGINES)}")
    if name == "auto":
        usable, reason = detectron2_availability()
        name = "detectron2" if usable else "builtin"
        _log_once(f"Engine: {name} ({reason})")
    elif name == "detectron2":
        usable, reason = detectron2_availability()
        if not usable:
            raise UnsegError(f"ENGINE detectron2 cannot be used: {reason}")
        _log_once(f"Engine: {name} ({reason})")
    else:
        _log_once(f"Engine: {name} (asked for)")
    module, attribute = ENGINES[name]
    return getattr(importlib.import_module(module), attribute)()


def detectron2_availability() -> tuple[bool, str]:
    """Return whether Detectron2 can be used, and one sentence why (not)."""
    return importlib.import_module("unseg_d2.detectors.detectron2.availability").availability()


@functools.cache
def _log_once(message: str) -> None:
    logger.info(message)
