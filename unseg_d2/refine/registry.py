"""Names of refiners, and how one is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from fvcore.common.registry import Registry

from unseg_d2.errors import UnsegError, nearest

Refiner = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(image (H, W, 3) uint8 RGB, masks (n, H, W) bool) -> masks (n, H, W) bool``; an empty mask stays empty."""

REFINERS = Registry("REFINERS")
"""Name to a function of settings that returns a :data:`Refiner`; the name is the value of ``REFINE.NAME``."""


def build_refiner(name: str, **settings: Any) -> Refiner:
    """Return the refiner of a name.

    Args:
        name: ``guided``, ``crf``, ``none`` or whatever else is registered.
        settings: keyword arguments of the refiner, such as ``radius`` and ``eps`` of ``guided``.

    Raises:
        UnsegError: if the name is not registered, a setting is unknown or out of range, or a package is missing.
    """
    known = sorted(key for key, _ in REFINERS)
    if name not in known:
        raise UnsegError(f"REFINE.NAME is '{name}', but must be one of {', '.join(known)}.{nearest(name, known)}")
    try:
        return REFINERS.get(name)(**settings)
    except (TypeError, ValueError) as error:
        raise UnsegError(f"The settings of the refiner '{name}' do not work: {error}.") from None


def check_inputs(image: np.ndarray, masks: np.ndarray) -> None:
    """Raise ValueError unless the image is ``(H, W, 3)`` uint8 and the masks are ``(n, H, W)`` bool."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a (H, W, 3) uint8 image, got {image.shape} {image.dtype}")
    if masks.dtype != np.bool_ or masks.ndim != 3 or masks.shape[1:] != image.shape[:2]:
        raise ValueError(
            f"expected (n, {image.shape[0]}, {image.shape[1]}) bool masks, got {masks.shape} {masks.dtype}"
        )


@REFINERS.register()
def none() -> Refiner:
    """Return the refiner that leaves the masks as they are."""
    return _unchanged


def _unchanged(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    check_inputs(image, masks)
    return masks.copy()
