"""What a step of training looks at, and features that are computed once per view.

Shape legend
    B      images per batch
    S      side of the square that is cut out of an image
    C      feature channels
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unseg_d2.semantic.datasets import SemanticSet
from unseg_d2.semantic.geometry import centre_square
from unseg_d2.semantic.proposals import read_proposals
from unseg_d2.semantic.views import Order, student_view

Describe = Callable[[Sequence[np.ndarray]], Tensor]
"""Images of one size, ``(S, S, 3)`` uint8 or float32 RGB -> features ``(B, C, h, w)``."""

View = tuple[int, bool, int]
"""Image, whether it is mirrored, and number of the student's view; -1 is the clean view."""

CLEAN = -1


@dataclass(frozen=True)
class SemanticBatch:
    """The images of one step.

    Attributes:
        clean: views of the teacher, and their pictures; ``None`` where the features are known.
        student: the same of the student; empty where there is none.
        proposals: ``(B, S, S)`` uint8, or ``None`` where there are none.
        truth: ``(B, S, S)`` int64, or ``None``.
    """

    clean: list[tuple[View, np.ndarray | None]]
    student: list[tuple[View | None, np.ndarray | None]] = field(default_factory=list)
    proposals: Tensor | None = None
    truth: Tensor | None = None


class FeatureCache:
    """Features by view, kept as long as there is room; a kept tensor is the one that would be computed again.

    Args:
        describe: backend.
        gigabytes: room.
    """

    def __init__(self, describe: Describe, gigabytes: float = 0.0) -> None:
        self.describe = describe
        self.room = int(gigabytes * 1e9)
        self.kept: dict[View, Tensor] = {}

    def __contains__(self, view: View | None) -> bool:
        return view in self.kept

    def __call__(self, views: Sequence[tuple[View | None, np.ndarray | None]]) -> Tensor:
        """Return the features ``(B, C, h, w)`` of views; those without a picture have to be known."""
        unknown = [index for index, (view, _) in enumerate(views) if view not in self.kept]
        found = self.describe([views[index][1] for index in unknown]) if unknown else None
        if len(unknown) == len(views):
            features = found
        else:
            first = next(self.kept[view] for view, _ in views if view in self.kept)
            features = first.new_empty(len(views), *first.shape)
            for index, (view, _) in enumerate(views):
                if view in self.kept:
                    features[index] = self.kept[view]
            if unknown:
                features[unknown] = found
        for position, index in enumerate(unknown):
            self._keep(views[index][0], found[position])
        return features

    def _keep(self, view: View | None, features: Tensor) -> None:
        size = features.numel() * features.element_size()
        if view is not None and size <= self.room:
            self.kept[view] = features.clone()
            self.room -= size


@dataclass(frozen=True)
class BatchMaker:
    """Makes the batch of a step, as a function of the step alone.

    Attributes:
        data: the images.
        choose: step -> indices of its images.
        generator: step -> source of everything random in it.
        cache: asked which pictures are needed.
        side: S.
        antialias: see `centre_square`.
        flip: probability of a horizontal flip.
        proposals: folder of the proposals; ``None`` makes clean views only.
        number: different student views of an image; 0 draws a new one.
        order: of the student's colour changes, see `student_view`.
        seed: of the student views that are numbered.
        with_truth: whether to read the labels too.
    """

    data: SemanticSet
    choose: Callable[[int], list[int]]
    generator: Callable[[int], np.random.Generator]
    cache: FeatureCache
    side: int = 320
    antialias: bool = True
    flip: float = 0.5
    proposals: Path | None = None
    number: int = 0
    order: Order = "before"
    seed: int = 0
    with_truth: bool = False

    def __call__(self, step: int) -> SemanticBatch:
        """Read the images of a step and draw their views."""
        rng = self.generator(step)
        clean, student, maps, truths = [], [], [], []
        for index in self.choose(step):
            mirrored = bool(rng.random() < self.flip)
            view = (index, mirrored, CLEAN)
            other = (index, mirrored, int(rng.integers(self.number))) if self.number else None
            seed = [self.seed, *map(int, other)] if other else rng.integers(2**32, size=4).tolist()
            picture, labels = self._picture(view, other)
            clean.append((view, None if view in self.cache else picture))
            if self.proposals is None:
                continue
            known = other in self.cache
            changed = None if known else student_view(picture, np.random.default_rng(seed), self.order)
            student.append((other, changed))
            name = self.data.images[index].name
            maps.append(_mirror(read_proposals(self.proposals, name, (self.side, self.side)), mirrored))
            truths.append(labels)
        if self.proposals is None:
            return SemanticBatch(clean)
        truth = torch.from_numpy(np.stack(truths)).long() if self.with_truth else None
        return SemanticBatch(clean, student, torch.from_numpy(np.stack(maps)), truth)

    def _picture(self, view: View, other: View | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Square of an image and its labels, mirrored where the view is; nothing where nobody needs it."""
        if view in self.cache and not self.with_truth and (self.proposals is None or other in self.cache):
            return None, None
        index, mirrored, _ = view
        image, labels = centre_square(*self.data.read(index), self.side, antialias=self.antialias)
        return _mirror(image, mirrored), None if labels is None else _mirror(labels, mirrored)


def _mirror(array: np.ndarray, mirrored: bool) -> np.ndarray:
    return np.ascontiguousarray(array[:, ::-1]) if mirrored else array
