"""Names of mask generators, and how one is made from a configuration."""

from __future__ import annotations

from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.masks.protocol import MaskGenerator

MASK_GENERATORS = Registry("MASK_GENERATORS")
"""Classes with ``from_config(cfg) -> MaskGenerator``; ``MASKS.GENERATOR`` is the class name, in any case."""


def generator_names() -> list[str]:
    """Return the accepted values of ``MASKS.GENERATOR``."""
    return sorted(name.lower() for name, _ in MASK_GENERATORS)


def build_generator(cfg: CfgNode) -> MaskGenerator:
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
