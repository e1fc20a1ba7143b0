"""Settings of the foreground union, and of what the generators make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unseg_d2.settings import Settings, nested, section, setting

UnionSource = Literal["unioncut", "head"]


@section("MASKS.PRIOR.UNIONCUT")
@dataclass(frozen=True)
class UnionCutSettings(Settings):
    """Settings of `foreground_union`."""

    grid: int = setting(
        28, "largest number of rows or columns that are cut; features on a finer grid are averaged", low=2, high=60
    )
    quantile: float = setting(
        0.3, "share of the patches that the bandwidth of mean shift reaches, on average", above=0, high=1
    )


@section("MASKS.PRIOR")
@dataclass(frozen=True)
class PriorSettings(Settings):
    """What the foreground union decides, with MASKS.STOP prior and MASKS.TOKENCUT.SIDE union."""

    source: UnionSource = setting(
        "unioncut",
        "where the union comes from: unioncut (the features alone) | head (a linear one on them)",
        choices=get_args(UnionSource),
    )
    head: str = setting(
        "", "with source head: file of a linear head (FOUND, UnionSeg), or zoo:NAME, that fits FEATURES"
    )
    min_precision: float = setting(
        0.75, "share of a mask after the first that must lie in the union; with less, the search ends", low=0, high=1
    )
    coverage: float = setting(0.8, "share of the union covered by masks at which the search ends", above=0, high=1)
    unioncut: UnionCutSettings = nested(UnionCutSettings)

    def check(self) -> None:
        """Raise ValueError where source and head contradict each other."""
        if self.source == "head" and not self.head:
            raise ValueError("MASKS.PRIOR.SOURCE head needs MASKS.PRIOR.HEAD: zoo:found, zoo:unionseg or a file")
        if self.head and self.source != "head":
            raise ValueError(f"MASKS.PRIOR.HEAD has no effect with MASKS.PRIOR.SOURCE {self.source}; set it to head")
