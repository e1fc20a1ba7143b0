"""What processes of a cluster do in tests, in a module that they import.

They wait for each other, so that it does not matter how fast they are.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fake_engine import FakeEngine
from pseudo_fakes import BrightRed, MeanColour, pipeline_of

from unseg_d2.detectors.prediction import Prediction
from unseg_d2.pseudo.pipeline import MaskPipeline

DEADLINE = 300.0


def machine() -> str:
    """Return the name of the machine that this process is on."""
    import ray

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else "none"


@dataclass(frozen=True)
class Meeting:
    """Where those who work tell each other that they have begun.

    Attributes:
        folder: that all see.
        first: of them that must have begun before anything is done.
        quota: of what is done, after which ``later`` must have begun.
        later: see ``quota``.
    """

    folder: Path
    first: int = 2
    quota: int = 10**6
    later: int = 2

    def attend(self, who: str) -> None:
        """Begin something, and wait until enough have begun."""
        (self.folder / f"came-{who}").touch()
        (self.folder / f"done-{uuid.uuid4().hex}").touch()
        waits, end = self.folder / f"waits-{who}", time.monotonic() + DEADLINE
        needed = self.first if len(list(self.folder.glob("done-*"))) <= self.quota else self.later
        while len(list(self.folder.glob("came-*"))) < needed:
            waits.touch()
            assert time.monotonic() < end, "nobody else has begun"
            time.sleep(0.02)
        waits.unlink(missing_ok=True)

    def waiting(self) -> list[str]:
        """Return those who wait."""
        return sorted(path.name.removeprefix("waits-") for path in self.folder.glob("waits-*"))


def telling(meeting: Meeting, worker: int) -> Callable[[int], Iterator[Any]]:
    """Tell of each job the process that did it, its GPUs and its number of threads."""

    def do(job: int) -> Iterator[Any]:
        meeting.attend(str(os.getpid()))
        yield job, os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), torch.get_num_threads()

    return do


def meeting_pipeline(meeting: Meeting, cfg: Any) -> MaskPipeline:
    """Return the pipeline of `pseudo_fakes.fake_pipeline`, for machines that wait for each other at each image."""
    refiner = partial(_keep, meeting)
    return pipeline_of(MeanColour(), BrightRed(), refiner, cfg.FEATURES.IMAGE_SIZE, mode=cfg.MASKS.MODE)


def _keep(meeting: Meeting, image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    meeting.attend(machine())
    return masks


class MeetingEngine(FakeEngine):
    """Predicts on machines that wait for each other at each image."""

    def __init__(self, meeting: Meeting) -> None:
        super().__init__()
        self.meeting = meeting

    def predict(self, cfg: Any, records: Sequence[dict[str, Any]], *, weights: str) -> Iterator[Prediction]:
        for record in records:
            self.meeting.attend(machine())
            yield from super().predict(cfg, [record], weights=weights)
