"""Settings of splitting masks along edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unseg_d2.settings import Settings, section, setting

EdgeSource = Literal["files", "depth", "canny"]


@section("MASKS.SPLIT")
@dataclass(frozen=True)
class SplitSettings(Settings):
    """Masks divided along edges (the BGP of TRACE, ICLR 2026, which states ``merge_above``; the rest is our choice)."""

    edges: EdgeSource = setting(
        "files",
        "where edges come from: files (--edges) | depth (steps of DEPTH.SOURCE) | canny (of the image)",
        choices=get_args(EdgeSource),
    )
    strength: float = setting(0.5, "edge strength from which a pixel separates", above=0, high=1)
    min_area: float = setting(
        0.05,
        "share of a mask that a fragment needs to be an object of its own; smaller ones are shared out",
        low=0,
        high=1,
    )
    beta: float = setting(
        10.0,
        "how seldom the random walk crosses an edge: a full edge has exp(-beta) of the weight of none",
        low=0,
        high=50,
    )
    merge_above: float = setting(0.5, "IoU above which two fragments are the same object", low=0, high=1)
    step: float = setting(
        0.05,
        "with depth: step between neighbouring pixels that is a full edge, as a share of the range",
        above=0,
        high=1,
    )
    canny_low: float = setting(100.0, "with canny: gradient from which a pixel may continue an edge", low=0)
    canny_high: float = setting(200.0, "with canny: gradient from which a pixel begins an edge", low=0)
