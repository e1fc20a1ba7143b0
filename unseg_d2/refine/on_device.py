"""Refiners that compute on a card, for all masks of a batch of images together.

Shape legend
    b      images of the same size
    n      masks of one image
    N      masks of all images, one image after another
    H, W   height and width in pixels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.holes_together import fill_holes_together
from unseg_d2.refine.registry import check_inputs
from unseg_d2.settings import Settings, setting
from unseg_d2.transfer import to_card, to_host

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class DeviceSettings(Settings):
    """Where a refiner runs."""

    device: str = setting("auto", "where the refiner runs: auto (with the features), cpu, cuda, cuda:1 and so on")

    @classmethod
    def from_config(cls, cfg: Any, name: str | None = None) -> Self:
        """Return the settings that a configuration states, on the device of its features where it says ``auto``."""
        settings = super().from_config(cfg, name)
        return settings if settings.device != "auto" else replace(settings, device=cfg["FEATURES"]["DEVICE"])


class Together(Protocol):
    """Refines all masks of a batch on a card, holes apart, and waits for the card as little as it can."""

    def __call__(self, images: Tensor, masks: Tensor, counts: Sequence[int]) -> Tensor:
        """Return refined masks ``(N, H, W)`` bool on the card, empty where a mask is empty.

        Args:
            images: ``(b, 3, H, W)`` uint8, on the host.
            masks: ``(N, H, W)`` bool or float32 in [0, 1], on the card.
            counts: how many masks each image has, at least one.
        """
        ...


@dataclass(frozen=True)
class CardRefiner:
    """A refiner that runs on a card; called as any other, or with the masks of several images.

    Attributes:
        together: what it does.
        device: the card.
        fills_holes: whether holes of the refined masks are filled.
    """

    together: Together
    device: torch.device
    fills_holes: bool = True

    def __call__(self, image: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """Refine the masks of one image; see :data:`~unseg_d2.refine.registry.Refiner`."""
        check_inputs(image, masks)
        if not len(masks):
            return np.zeros(masks.shape, dtype=bool)
        with torch.inference_mode():
            images = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
            given = to_card(torch.from_numpy(np.ascontiguousarray(masks)), self.device)
            found: np.ndarray = to_host(self.together(images, given, [len(masks)]))[0].numpy()
        return fill_holes(found) if self.fills_holes else found  # here it takes no further wait

    def refine(self, images: Tensor, masks: Tensor, counts: Sequence[int]) -> Tensor:
        """Refine the masks of a batch, holes included; for arguments and result see :class:`Together`."""
        found = self.together(images, masks, counts)
        return fill_holes_together(found) if self.fills_holes else found


def owners(counts: Sequence[int], device: torch.device) -> Tensor:
    """Return the image of each mask, ``(N,)`` int64, on a device."""
    return to_card(torch.repeat_interleave(torch.tensor(counts)), device)
