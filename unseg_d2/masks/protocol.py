"""What a mask generator is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from unseg_d2.structures import PatchFeatures, Proposals


@runtime_checkable
class MaskGenerator(Protocol):
    """Finds objects in the patch features of images.

    A generator must cope with any grid down to one patch, with features that are all equal or all zero (it may find
    nothing, and returns no empty mask) and with any float type; it raises ``ValueError`` for NaN or infinite features.
    The result depends on the features alone: not on the batch, the run or the device. One that cannot do without
    depth says so by an attribute ``needs_depth = True``.
    """

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image, in order and on the CPU.

        They lie on the image's patch grid; of a generator that looks at the members of an ensemble, on the finest of
        the members' grids.
        """
        ...
