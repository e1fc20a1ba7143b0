"""Settings of PriMaPs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unseg_d2.masks.registry import Mode, mode_setting
from unseg_d2.settings import Settings, setting

Sign = Literal["canonical", "random"]


@dataclass(frozen=True)
class PriMaPsSettings(Settings):
    """Settings of :func:`primaps`; the defaults are the published ones, but for the limit.

    The ``canonical`` sign makes the larger extreme cosine positive; ``random`` takes PyTorch's random numbers, as the
    published randomised decomposition in effect does.
    """

    psi: float = setting(
        0.4,
        "cosine to the anchor, relative to the largest, from which a patch joins the mask",
        symbol="psi",
        above=0,
        high=1,
    )
    coverage: float = setting(0.95, "share of the grid covered by masks at which the search ends", above=0, high=1)
    max_masks: int = setting(100, "largest number of proposals per image; 0 is no limit (parity has none)", low=0)
    sign: Sign = setting(
        "canonical", "sign of the principal direction: canonical | random (published)", choices=get_args(Sign)
    )
    mode: Mode = mode_setting()

    def when_empty(self) -> str:
        """Return what to change where PriMaPs finds nothing."""
        return f"raise FEATURES.IMAGE_SIZE, or lower MASKS.PRIMAPS.PSI (now {self.psi:g}), so that masks are larger."
