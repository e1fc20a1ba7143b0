"""What a feature backend is, and how one is made from a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.structures import PatchFeatures

FEATURE_BACKENDS = Registry("FEATURE_BACKENDS")
"""Classes with ``from_config(cfg) -> FeatureBackend``; ``FEATURES.NAME`` is the class name, in any case."""


@runtime_checkable
class FeatureBackend(Protocol):
    """Turns images into patch tokens.

    Attributes:
        name: what goes into the ``info`` of a label set, e.g. ``"vit/dino_vitb8/key"``.
        patch_size: side of a patch in pixels of the image that the tokens describe.
        checksum: sha256 (hex) of everything besides the settings that determines the tokens, such as the weights.
    """

    name: str
    patch_size: int
    checksum: str

    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        """Describe a batch of images.

        Args:
            images: ``(H, W, 3)`` RGB each, already resized, all of one size; uint8, or float32 in [0, 255] where an
                image is padded with a colour that is no level of uint8.

        Returns:
            One :class:`PatchFeatures` per image, in order.
        """
        ...


def build_backend(cfg: CfgNode) -> FeatureBackend:
    """Return the single feature backend that ``cfg.FEATURES`` describes, whatever its ``MEMBERS``.

    Raises:
        UnsegError: if ``FEATURES.NAME`` is not registered, or the backend cannot be made (e.g. missing weights).
    """
    wanted = cfg.FEATURES.NAME
    backends = {name.lower(): backend for name, backend in FEATURE_BACKENDS}
    if wanted.lower() not in backends:
        known = ", ".join(sorted(backends))
        raise UnsegError(f"FEATURES.NAME is '{wanted}', but must be one of {known}.{nearest(wanted, backends)}")
    return backends[wanted.lower()].from_config(cfg)
