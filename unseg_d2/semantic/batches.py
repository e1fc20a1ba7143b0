"""The batch of a training step, and features that are computed once per view.

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
from unseg_d2.semantic.settings import SemanticSettings, ViewSettings
from unseg_d2.semantic.views import student_view

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
    """Features by view, kept as long as there is room; a kept tensor equals the one that would be computed again.

    Args:
        describe: backend.
        gigabytes: room.
    """

    def __init__(self, describe: Describe, gigabytes: float) -> None:
        self.describe = describe
        self.room = int(gigabytes * 1e9)
        self.kept: dict[View, Tensor] = {}

    def __contains__(self, view: View | None) -> bool:
        return view in self.kept

    def __call__(self, views: Sequence[tuple[View | None, np.ndarray | None]]) -> Tensor:
        """Return the features ``(B, C, h, w)`` of views; those without a picture must be in the cache."""
        unknown = [index for index, (view, _) in enumerate(views) if view not in self.kept]
        pictures = [picture for index in unknown if (picture := views[index][1]) is not None]
        found = self.describe(pictures) if unknown else None
        if found is not None and len(unknown) == len(views):
            features = found
        else:
            first = next(self.kept[view] for view, _ in views if view is not None and view in self.kept)
            features = first.new_empty(len(views), *first.shape)
            for index, (view, _) in enumerate(views):
                if view is not None and view in self.kept:
                    features[index] = self.kept[view]
            if found is not None:
                features[unknown] = found
        if found is not None:
            for index, described in zip(unknown, found, strict=True):
                self._keep(views[index][0], described)
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
        cache: knows which pictures are needed.
        settings: S is ``image_size``; how images are resized and flipped.
        views: order of the student's colour changes, and how many different views an image has.
        seed: of the student views that are numbered.
        proposals: folder of the proposals; ``None`` makes clean views only.
        with_truth: whether to read the labels too.
    """

    data: SemanticSet
    choose: Callable[[int], list[int]]
    generator: Callable[[int], np.random.Generator]
    cache: FeatureCache
    settings: SemanticSettings
    views: ViewSettings
    seed: int
    proposals: Path | None = None
    with_truth: bool = False

    def __call__(self, step: int) -> SemanticBatch:
        """Read the images of a step and draw their views."""
        rng, number, side = self.generator(step), self.views.number, self.settings.image_size
        clean, student, maps, truths = [], [], [], []
        for index in self.choose(step):
            mirrored = bool(rng.random() < self.settings.flip)
            view = (index, mirrored, CLEAN)
            other = (index, mirrored, int(rng.integers(number))) if number else None
            seed = [self.seed, *map(int, other)] if other else rng.integers(2**32, size=4).tolist()
            picture, labels = self._picture(view, other)
            clean.append((view, None if view in self.cache else picture))
            if self.proposals is None:
                continue
            changed = None
            if other not in self.cache and picture is not None:
                changed = student_view(picture, np.random.default_rng(seed), self.views.order)
            student.append((other, changed))
            name = self.data.images[index].name
            maps.append(_mirror(read_proposals(self.proposals, name, (side, side)), mirrored))
            if self.with_truth and labels is not None:
                truths.append(labels)
        if self.proposals is None:
            return SemanticBatch(clean)
        truth = torch.from_numpy(np.stack(truths)).long() if self.with_truth else None
        return SemanticBatch(clean, student, torch.from_numpy(np.stack(maps)), truth)

    def _picture(self, view: View, other: View | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Square of an image and its labels, mirrored where the view is; ``None`` where they are not needed."""
        if view in self.cache and not self.with_truth and (self.proposals is None or other in self.cache):
            return None, None
        index, mirrored, _ = view
        side, antialias = self.settings.image_size, self.settings.antialias
        image, labels = centre_square(*self.data.read(index), side, antialias=antialias)
        return _mirror(image, mirrored), None if labels is None else _mirror(labels, mirrored)


def _mirror(array: np.ndarray, mirrored: bool) -> np.ndarray:
    return np.ascontiguousarray(array[:, ::-1]) if mirrored else array
