"""Pipelines whose parts fail or are slow, and a stand-in for helping processes."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pseudo_fakes import BrightRed, MeanColour, keep, pipeline_of

from unseg_d2.errors import Unusable
from unseg_d2.pseudo.parcels import Arena, Parcel
from unseg_d2.pseudo.step_processes import Answer


def _unwilling(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    if (image[0, 0] == 255).all():
        raise Unusable("a white corner")
    return masks


def unwilling_pipeline(cfg):
    """One whose refiner cannot use images with a white corner."""
    return pipeline_of(MeanColour(), BrightRed(), _unwilling, cfg.FEATURES.IMAGE_SIZE)


class _Mistaken(BrightRed):
    def propose(self, features):
        raise KeyError("no such patch")


def mistaken_pipeline(cfg):
    """One whose generator has a mistake."""
    return pipeline_of(MeanColour(), _Mistaken(), keep, cfg.FEATURES.IMAGE_SIZE)


def _noting(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Note which process finishes, slowly."""
    Path(os.environ["PROCESSES"], str(os.getpid())).touch()
    time.sleep(0.05)
    return masks


def noting_pipeline(cfg):
    """One whose refiner notes its process in the folder ``PROCESSES``."""
    return pipeline_of(MeanColour(), BrightRed(), _noting, cfg.FEATURES.IMAGE_SIZE)


class Threads:
    """Does steps in threads, in the place of `StepProcesses`; each takes up to 10 ms more."""

    def __init__(self, step: Callable[..., Any], number: int, *, arena: Arena, **_: Any) -> None:
        self.step, self.arena, self.executor = step, arena, ThreadPoolExecutor(number)

    def submit(self, *arguments: Any, slot: int | None = None) -> Future[Answer]:
        return self.executor.submit(self._do, arguments, slot)

    def _do(self, arguments: tuple[Any, ...], slot: int | None) -> Answer:
        time.sleep(random.random() / 100)
        value = self.step(*(self.arena.unpack(part) if isinstance(part, Parcel) else part for part in arguments))
        return Answer(value if slot is None else self.arena.pack(value, slot), 0.25)

    def close(self) -> None:
        self.executor.shutdown()
