"""What a mask generator is, the names of those there are, and how one is made from a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.structures import PatchFeatures, Proposals

MASK_GENERATORS = Registry("MASK_GENERATORS")
"""Classes with ``from_config(cfg) -> ProposalGenerator``; ``MASKS.GENERATOR`` is the class name, in any case."""


@runtime_checkable
class ProposalGenerator(Protocol):
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


def generator_names() -> list[str]:
    """Return the accepted values of ``MASKS.GENERATOR``."""
    return sorted(name.lower() for name, _ in MASK_GENERATORS)


def build_generator(cfg: CfgNode) -> ProposalGenerator:
    """Return the mask generator that ``cfg.MASKS`` describes.

    Raises:
        UnsegError: if ``MASKS.GENERATOR`` is not registered, or one of its settings is out of range.
    """
    wanted = cfg.MASKS.GENERATOR.lower()
    for name, generator in MASK_GENERATORS:
        if name.lower() == wanted:
            try:
                return generator.from_config(cfg)
            except ValueError as error:
                raise UnsegError(f"The settings in MASKS do not work for '{wanted}': {error}.") from None
    known = generator_names()
    raise UnsegError(f"MASKS.GENERATOR is '{wanted}', but must be one of {', '.join(known)}.{nearest(wanted, known)}")
