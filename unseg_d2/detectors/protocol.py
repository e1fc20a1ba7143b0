"""The interface of an engine, and the choice between the two."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.loop.machines import ONE_MACHINE, Machines

if TYPE_CHECKING:
    from unseg_d2.detectors.prediction import Prediction
    from unseg_d2.detectors.predictor import Predictor

ENGINES = {
    "detectron2": ("unseg_d2.detectors.detectron2.engine", "Detectron2Engine"),
    "builtin": ("unseg_d2.detectors.builtin.engine", "BuiltinEngine"),
}

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """Trains and runs a detector.

    Attributes:
        name: the value of ``ENGINE`` that selects it.
    """

    name: str

    def launch(
        self, main: Callable[..., None], num_processes: int, args: Sequence[Any], machines: Machines = ONE_MACHINE
    ) -> None:
        """Call ``main(*args)`` in each of ``num_processes`` connected processes; a single one is this process.

        Under ``torchrun`` this process joins the group that it was started in, and the other arguments have no effect.
        Each of several ``machines`` makes this call with the same arguments but its own rank.
        """

    def train(self, cfg: CfgNode, *, resume: bool) -> Path:
        """Train the detector of a recipe and return ``OUTPUT_DIR/model_final.pth``.

        Args:
            cfg: frozen recipe.
            resume: start from the last checkpoint in ``OUTPUT_DIR`` if there is one.
        """

    def build_predictor(self, cfg: CfgNode, *, weights: str) -> Predictor:
        """Build the network of a recipe and load a checkpoint into it.

        Args:
            cfg: recipe of the network.
            weights: checkpoint of the whole network.

        Raises:
            UnsegError: there is no such checkpoint or device, or the checkpoint does not fit the recipe.
        """

    def predict(self, cfg: CfgNode, records: Sequence[dict[str, Any]], *, weights: str) -> Iterator[Prediction]:
        """Yield the predictions of the records, in their order.

        Args:
            cfg: recipe of the network.
            records: Detectron2's standard dataset dicts; annotations in them are not read.
            weights: checkpoint of the whole network.
        """


def select_engine(name: str) -> Engine:
    """Return the engine of a name; the log says which one it is and why.

    Args:
        name: ``ENGINE`` of the configuration: "auto" is Detectron2 if it can be used, else the built-in engine.

    Raises:
        UnsegError: the name is unknown, or Detectron2 is named but cannot be used (the message says why).
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
        _log_once(f"Engine: {name} (ENGINE of the recipe)")
    module, attribute = ENGINES[name]
    engine: Engine = getattr(importlib.import_module(module), attribute)()
    return engine


def detectron2_availability() -> tuple[bool, str]:
    """Return whether Detectron2 can be used, and a sentence that says why or why not."""
    answer: tuple[bool, str] = importlib.import_module("unseg_d2.detectors.detectron2.availability").availability()
    return answer


@functools.cache
def _log_once(message: str) -> None:
    logger.info(message)
