"""The nouns that travel between the rooms; everything else is a function on them.

Shape legend
    H, W   height and width of an image in pixels
    h, w   rows and columns of the patch grid
    C      feature channels
    n      number of proposals or instances
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

DepthKind = Literal["metric", "relative", "inverse"]


@dataclass(frozen=True)
class PatchFeatures:
    """Patch tokens of one image.

    Attributes:
        tokens: ``(C, h, w)`` float32, not normalised.
        patch_size: side of a patch in pixels of the (resized) network input.
        attention: ``(h, w)`` float32 mean [CLS] attention over heads, or ``None`` where the backend has none.
        depth: depth of the image, sampled on the patch grid, ``(h, w)``, or ``None`` without a depth source.
        members: the same image as each backend of an ensemble describes it, on grids of their own; empty without one.
        foreground: ``(h, w)`` float32 probability that a patch belongs to an object, by a linear head, or ``None``.
        pixels: ``(H, W, 3)`` uint8 RGB, the network's input, on the host; ``None`` where only features are known.
    """

    tokens: Tensor
    patch_size: int
    attention: Tensor | None = None
    depth: DepthMap | None = None
    members: tuple[PatchFeatures, ...] = ()
    foreground: Tensor | None = None
    pixels: np.ndarray | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns ``(h, w)`` of the patch grid."""
        return self.tokens.shape[1], self.tokens.shape[2]


@dataclass(frozen=True)
class DepthMap:
    """Depth of one image and what its numbers mean.

    Attributes:
        depth: ``(H, W)`` float32, finite.
        kind: ``metric`` (metres), ``relative`` (far is large, no unit) or ``inverse`` (near is large, no unit).
    """

    depth: Tensor
    kind: DepthKind


@dataclass(frozen=True)
class Proposals:
    """What a mask generator finds in one image, on the patch grid or a finer one of the same extent, best first.

    Attributes:
        masks: ``(n, h, w)`` bool.
        scores: ``(n,)`` float32 in [0, 1].
        confidence: ``(n, h, w)`` float32 spatial confidence in [0, 1], or ``None``.
        rejected: candidates that the generator turned down, by the field of its settings that did so
            (``max_likeness``), or by a reason in words.
        levels: ``(n,)`` int64, layer of each mask, 0 is the finest; ``None`` where the generator has no layers.
        parents: ``(n,)`` int64, position of the mask that contains each one, -1 for none; with ``levels`` only.
    """

    masks: Tensor
    scores: Tensor
    confidence: Tensor | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    levels: Tensor | None = None
    parents: Tensor | None = None

    def __len__(self) -> int:
        return self.masks.shape[0]

    @staticmethod
    def empty(grid: tuple[int, int], rejected: Mapping[str, int] | None = None) -> Proposals:
        """Return no proposals on a grid of ``(h, w)`` patches, and what was turned down."""
        return Proposals(torch.zeros(0, *grid, dtype=torch.bool), torch.zeros(0), rejected=rejected or {})


@dataclass(frozen=True)
class Place:
    """Where a mask stands among the masks of its image, some of which contain others.

    Attributes:
        level: layer in which it was found; 0 is the finest.
        granularity: how coarse it is among the masks of its tree, in (0, 1]; see `unseg_d2.levels.granularities`.
        node: its number, which no other mask of the image has.
        parent: number of the smallest mask that contains it, ``None`` where there is none.
    """

    level: int
    granularity: float
    node: int
    parent: int | None = None


@dataclass(frozen=True)
class PseudoMask:
    """One proposal at image size, ready to be written to a label set.

    Attributes:
        mask: ``(H, W)`` bool at the size of the original image.
        score: confidence of the whole mask in [0, 1].
        confidence: ``(h, w)`` float32 in [0, 1] on the patch grid, or ``None``.
        place: its level of detail, and the mask that contains it; ``None`` where the generator has no levels.
    """

    mask: np.ndarray
    score: float
    confidence: np.ndarray | None = None
    place: Place | None = None
