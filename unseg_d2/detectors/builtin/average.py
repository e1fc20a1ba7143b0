"""A running average of the weights, which is evaluated and saved in their place (``SOLVER.EMA_DECAY``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.utils import ModelEmaV3

from unseg_d2.detectors.builtin.model import GeneralizedRCNN
from unseg_d2.errors import UnsegError

LIVE = "live_model"
"""What a checkpoint calls the weights that are trained, where its ``model`` is their average."""


class Average:
    """The weights to evaluate and to save: an exponential moving average, or those that are trained.

    The decay rises with the number of steps, 1 - t^(-2/3) at most (timm's warm-up), so that a short training is not an
    average over its random start.

    Args:
        model: the network that is trained.
        decay: largest decay, in [0, 1); 0 keeps no average.
    """

    def __init__(self, model: GeneralizedRCNN, decay: float) -> None:
        self.model = model
        self._average = ModelEmaV3(model, decay=decay, use_warmup=True) if decay else None

    @property
    def network(self) -> GeneralizedRCNN:
        """The network to evaluate and to save."""
        if self._average is None:
            return self.model
        network: GeneralizedRCNN = self._average.module
        return network

    def update(self, iteration: int) -> None:
        """Take the weights after an iteration, from 0, into the average."""
        if self._average is not None:
            self._average.update(self.model, step=iteration + 1)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs besides :attr:`network`."""
        return {} if self._average is None else {LIVE: self.model.state_dict()}

    def restore(self, checkpoint: Mapping[str, Any], path: Path, *, resumes: bool) -> None:
        """Take over a checkpoint whose ``model`` was loaded into the network that is trained.

        Args:
            checkpoint: all of it.
            path: of the file, for the message.
            resumes: whether the training resumes; otherwise it starts from these weights.

        Raises:
            UnsegError: one of the two trainings keeps an average, and the other does not.
        """
        if resumes and (LIVE in checkpoint) != (self._average is not None):
            raise UnsegError(
                f"{path} was written {'with' if LIVE in checkpoint else 'without'} an average of the weights; resume "
                "with the same SOLVER.EMA_DECAY, or begin anew in another OUTPUT_DIR."
            )
        if self._average is not None:
            self._average.set(self.model)
            if resumes:
                self.model.load_state_dict(checkpoint[LIVE])
