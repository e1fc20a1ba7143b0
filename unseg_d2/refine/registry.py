"""Names of refiners, and how one is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError, Unusable
from unseg_d2.registry import Registry
from unseg_d2.settings import Settings, section, setting

Refiner = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(image (H, W, 3) uint8 RGB, masks (n, H, W) bool or float32 in [0, 1]) -> masks (n, H, W) bool``.

An empty mask, zero everywhere, stays empty.
"""

FOREGROUND = 0.5  # soft masks are foreground above this

REFINERS: Registry[Refiner] = Registry("REFINE.NAME", "REFINE")
"""Functions of their settings that return a :data:`Refiner`; ``REFINE.NAME`` is the function's name."""

Where = Literal["input", "image", "crops"]
Upsample = Literal["nearest", "bilinear"]


@section("REFINE")
@dataclass(frozen=True)
class RefineSettings(Settings):
    """The refiner, and at which resolution it works."""

    name: str = setting(
        "guided",
        "name of the refiner: guided | crf | crf_labels (disjoint masks) | bilateral | pydensecrf (extra 'crf') | none",
    )
    where: Where = setting(
        "input",
        "resolution: input (the network's input) | image (the image's own) | crops (around each mask; VoteCut)",
        choices=get_args(Where),
    )
    min_iou: float = setting(
        0.5,
        "IoU of a mask before and after refinement below which it is dropped (with crops: kept unrefined)",
        low=0,
        high=1,
    )
    upsample: Upsample = setting(
        "nearest", "interpolation from patches to pixels before refinement", choices=get_args(Upsample)
    )

    def check(self) -> None:
        """Raise ValueError where crops would be taken around soft masks."""
        if self.where == "crops" and self.upsample != "nearest":
            raise ValueError("REFINE.WHERE crops needs REFINE.UPSAMPLE nearest: crops are taken around binary masks")


def build_refiner(name: str, **settings: Any) -> Refiner:
    """Return the refiner of a name.

    Args:
        name: ``guided``, ``crf``, ``crf_labels``, ``bilateral``, ``pydensecrf``, ``none``, or one that you register.
        settings: those that differ from the defaults, such as ``radius`` and ``eps`` of ``guided``.

    Raises:
        UnsegError: if the name is not registered, a setting is unknown or out of range, or a package is missing.
    """
    entry = REFINERS.entry(name)
    try:
        return entry.make(**settings) if entry.settings is None else entry.make(entry.settings(**settings))
    except (TypeError, ValueError) as error:
        raise UnsegError(f"The settings of the refiner '{name}' do not work: {error}.") from None


def refiner_from_config(cfg: CfgNode, name: str | None = None) -> Refiner:
    """Return the refiner that a configuration describes.

    Args:
        cfg: whole configuration; ``REFINE.<NAME>`` has the settings.
        name: overrides ``REFINE.NAME``.

    Raises:
        UnsegError: see :func:`build_refiner`.
    """
    return REFINERS.build(cfg, name)


def check_inputs(image: np.ndarray, masks: np.ndarray) -> None:
    """Raise ValueError unless the image is ``(H, W, 3)`` uint8, the masks ``(n, H, W)`` bool or float32 in [0, 1]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a (H, W, 3) uint8 image, got {image.shape} {image.dtype}")
    if masks.dtype not in (np.bool_, np.float32) or masks.ndim != 3 or masks.shape[1:] != image.shape[:2]:
        raise ValueError(
            f"expected (n, {image.shape[0]}, {image.shape[1]}) bool or float32 masks, got {masks.shape} {masks.dtype}"
        )
    if masks.dtype == np.float32 and not ((masks >= 0) & (masks <= 1)).all():
        raise Unusable("expected soft masks in [0, 1], got NaN or values outside of it")


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
