"""What copy-paste draws: which objects of a sample are pasted, how large and where.

Nothing is drawn while pixels move, so that a plan can be carried out later and elsewhere: in the loader processes
(`copy_paste`) or on a GPU (`copy_paste_device`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from unseg_d2.data.sample import Sample
from unseg_d2.data.settings import DataLoaderSettings


class Draws(Protocol):
    """The random numbers of one paste, in the order of the methods."""

    def chance(self) -> float:
        """A number in [0, 1) that is compared with the rate."""

    def number(self, low: int, high: int) -> int:
        """How many objects, in [low, high]."""

    def choose(self, n: int, k: int) -> np.ndarray:
        """Which k of n objects, without repetition."""

    def ratio(self, low: float, high: float) -> float:
        """Scale of the source relative to the target image, in [low, high]."""

    def offset(self, high: int) -> int:
        """Where to paste along one axis, in [0, high]; first x, then y."""


class GeneratorDraws:
    """Draws of a NumPy generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def chance(self) -> float:  # noqa: D102
        return self.rng.random()

    def number(self, low: int, high: int) -> int:  # noqa: D102
        return int(self.rng.integers(low, high + 1))

    def choose(self, n: int, k: int) -> np.ndarray:  # noqa: D102
        return self.rng.choice(n, k, replace=False)

    def ratio(self, low: float, high: float) -> float:  # noqa: D102
        return self.rng.uniform(low, high)

    def offset(self, high: int) -> int:  # noqa: D102
        return int(self.rng.integers(high + 1))


@dataclass(frozen=True)
class PastePlan:
    """What has been drawn for one paste.

    Attributes:
        chosen: indices of the objects of the source, in the order in which they are pasted.
        ratio: size of the stretched source relative to the target, in (0, 1].
        size: that size in px, height and width.
        x: left edge of the stretched source in the target, px.
        y: top edge.
    """

    chosen: tuple[int, ...]
    ratio: float
    size: tuple[int, int]
    x: int
    y: int


def plan_paste(
    source: Sample,
    size: tuple[int, int],
    *,
    rng: np.random.Generator | Draws,
    settings: DataLoaderSettings,
) -> PastePlan | None:
    """Draw which objects of a sample are pasted, how large and where; ``None`` where none is.

    Args:
        source: where the objects come from.
        size: height and width of the target, px.
        rng, settings: as for `copy_paste`.
    """
    draws = GeneratorDraws(rng) if isinstance(rng, np.random.Generator) else rng
    if draws.chance() > settings.copy_paste_rate or len(source) == 0:
        return None
    chosen = _choose(source, draws, settings)
    ratio = draws.ratio(settings.copy_paste_min_ratio, settings.copy_paste_max_ratio)
    height, width = max(int(ratio * size[0]), 1), max(int(ratio * size[1]), 1)
    x, y = draws.offset(size[1] - width), draws.offset(size[0] - height)
    return PastePlan(tuple(chosen.tolist()), ratio, (height, width), x, y)


def instance_confidences(sample: Sample) -> np.ndarray:
    """Mean spatial confidence of each instance over its mask, ``(N,)`` float64 in [0, 1]; 1 for one without a map."""
    if sample.confidence is None:
        return np.ones(len(sample))
    pairs = zip(sample.confidence.numpy(), sample.masks.numpy())
    return np.array([cv2.mean(map_, mask.view(np.uint8))[0] / 255 if mask.any() else 0.0 for map_, mask in pairs])


def _choose(source: Sample, draws: Draws, settings: DataLoaderSettings) -> np.ndarray:
    """Indices ``(k,)`` of the objects to paste."""
    n = len(source)
    most = n if settings.copy_paste_mode == "default" else max(n - 1, 1)
    count = draws.number(1, most) if settings.copy_paste_random_num else n
    return draws.choose(n, count) if settings.copy_paste_selection == "random" else _surest(source, count, draws)


def _surest(source: Sample, count: int, draws: Draws) -> np.ndarray:
    """Indices of the ``count`` instances of highest mean confidence, ties in random order."""
    shuffled = draws.choose(len(source), len(source))
    return shuffled[np.argsort(-instance_confidences(source)[shuffled], kind="stable")[:count]]
