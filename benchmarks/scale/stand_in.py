"""A pipeline without a network, for label sets of any number of images."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from rounds import HEIGHT, MASKS, WIDTH, pool

from unseg_d2.data.images import ImageFile
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.rle import decode_masks
from unseg_d2.structures import PseudoMask


class Stopped(BaseException):
    """Ends the making of a label set in the middle, as a kill does."""


class StandIn:
    """A pipeline that looks at no image: the masks of a file follow from its name.

    Args:
        shapes: how many different masks there are.
        stop_after: images after which the work ends; ``None`` for never.
        cfg: has no effect.
    """

    features = SimpleNamespace(name="stand-in", checksum="0" * 64)
    depth = None

    def __init__(self, shapes: int, stop_after: int | None, cfg: Any) -> None:
        self.shapes, self.left = shapes, stop_after
        self.masks: np.ndarray | None = None

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[PseudoMasks]:
        """Return the masks of a batch."""
        if self.left is not None:
            self.left -= len(images)
            if self.left < 0:
                raise Stopped
        if self.masks is None:
            self.masks = decode_masks([rle for _, rle in pool(5, self.shapes, largest=1.45)], HEIGHT, WIDTH)
        return [self._of(random.Random(file.file_name), self.masks) for file in files]

    @staticmethod
    def _of(chance: random.Random, masks: np.ndarray) -> PseudoMasks:
        return PseudoMasks(PseudoMask(masks[chance.randrange(len(masks))], 0.9 - 0.1 * k) for k in range(MASKS))
