"""Names of refiners, and how one is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry

from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError, nearest

Refiner = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(image (H, W, 3) uint8 RGB, masks (n, H, W) bool or float32 in [0, 1]) -> masks (n, H, W) bool``.

An empty mask, zero everywhere, stays empty.
"""

FOREGROUND = 0.5  # soft masks are foreground above this

REFINERS = Registry("REFINERS")
"""Name to a function of settings that returns a :data:`Refiner`; the name is the value of ``REFINE.NAME``."""


def build_refiner(name: str, **settings: Any) -> Refiner:
    """Return the refiner of a name.

    Args:
        name: ``guided``, ``crf``, ``crf_labels``, ``bilateral``, ``pydensecrf``, ``none``, or one that you register.
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


def refiner_from_config(cfg: CfgNode, name: str, *, device: str = "cpu") -> Refiner:
    """Return a refiner with the settings that a configuration has for it.

    Args:
        cfg: its section ``REFINE.<NAME>``, where there is one, holds the settings.
        name: see :func:`build_refiner`.
        device: see :func:`refiner_settings`.

    Raises:
        UnsegError: see :func:`build_refiner` and :func:`unseg_d2.devices.resolve_device`.
    """
    return build_refiner(name, **refiner_settings(cfg, name, device=device))


def refiner_settings(cfg: CfgNode, name: str, *, device: str = "cpu") -> dict[str, Any]:
    """Return what a configuration says of a refiner, as keyword arguments of it.

    Args:
        cfg: its section ``REFINE.<NAME>`` is read.
        name: of the refiner; one without a section has no settings.
        device: where the refiner works if its ``DEVICE`` is ``auto``, as ``FEATURES.DEVICE`` has it; of no matter to
            one without ``DEVICE``.
    """
    settings = {key.lower(): value for key, value in cfg.REFINE.get(name.upper(), {}).items()}
    if settings.get("device") == "auto":
        settings["device"] = str(resolve_device(device))
    return settings


def check_inputs(image: np.ndarray, masks: np.ndarray) -> None:
    """Raise ValueError unless the image is ``(H, W, 3)`` uint8, the masks ``(n, H, W)`` bool or float32 in [0, 1]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a (H, W, 3) uint8 image, got {image.shape} {image.dtype}")
    if masks.dtype not in (np.bool_, np.float32) or masks.ndim != 3 or masks.shape[1:] != image.shape[:2]:
        raise ValueError(
            f"expected (n, {image.shape[0]}, {image.shape[1]}) bool or float32 masks, got {masks.shape} {masks.dtype}"
        )
    if masks.dtype == np.float32 and not ((masks >= 0) & (masks <= 1)).all():
        raise ValueError("expected soft masks in [0, 1], got NaN or values outside of it")


def soft(masks: np.ndarray) -> np.ndarray:
    """Return bool or float32 masks as float32."""
    return masks.astype(np.float32, copy=False)


def hard(masks: np.ndarray) -> np.ndarray:
    """Return bool or float32 masks as new bool masks: what is above :data:`FOREGROUND`."""
    return masks > FOREGROUND


@REFINERS.register()
def none() -> Refiner:
    """Return the refiner that leaves the masks as they are, soft ones cut at one half."""
    return _unchanged


def _unchanged(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    check_inputs(image, masks)
    return hard(masks)
