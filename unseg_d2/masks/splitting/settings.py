"""Settings of splitting masks: along edges, or by object-centric fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unseg_d2.settings import Settings, nested, section, setting

EdgeSource = Literal["files", "depth", "canny"]
SplitMethod = Literal["bgp", "centre_field"]


@section("MASKS.SPLIT.FIELD")
@dataclass(frozen=True)
class FieldSettings(Settings):
    """With method ``centre_field``: the reasoning of unMORE (ICML 2025); docs/generators.md says what of it is ours."""

    side: int = setting(
        128,
        "longer side that a mask is brought to when it is looked at for several objects",
        low=16,
        high=1024,
        unit="px",
    )
    erosion: int = setting(
        12,
        "distance from the outline of the mask, at that size, from which a peak counts: 9x9, three times",
        low=0,
        unit="px",
    )
    peak: float = setting(
        0.009, "value of the 5x5 anti-centre convolution above which a mask holds several objects", low=0, below=1
    )
    checks: int = setting(2, "times that a mask, and the boxes that it was cut into, are looked at", low=1, high=4)
    grow: float = setting(
        1.5, "size of the box of a part that the erosion leaves, as a multiple of the part's own box", low=1, high=4
    )
    rounds: int = setting(50, "rounds in which the sides of a box move, at most", low=1)
    overshoot: float = setting(
        0.5, "how much farther a side that grows moves than the boundary field says, as a share", low=0, high=2
    )
    slack: float = setting(
        0.125, "share of its box by which a side may lie outside of the object at the end: 16 of 128 px", low=0, below=1
    )
    min_depth: float = setting(
        0.5, "largest value of the boundary field in a box, up to which it holds no object", low=0, below=1
    )
    min_pixels: int = setting(50, "area of a box below which it is no object", low=1, unit="px")
    min_cosine: float = setting(
        0.5,
        "cosine of a pixel's vector and the direction from the centre of a box, from which it is the object's there",
        low=0,
        below=1,
    )
    min_agreement: float = setting(
        0.7, "share of the pixels of objects in a box that its own object must have", low=0, high=1
    )
    nms: float = setting(0.5, "IoU above which the weaker one of two boxes is dropped", low=0, high=1)
    min_length: float = setting(
        0.5, "length of the vector of a pixel from which it says where the pixel belongs", low=0, below=1
    )


@section("MASKS.SPLIT")
@dataclass(frozen=True)
class SplitSettings(Settings):
    """How masks are divided. Of the BGP of TRACE (ICLR 2026), ``merge_above`` is stated, and the rest is our choice."""

    method: SplitMethod = setting(
        "bgp",
        "how masks are divided: bgp (along edges) | centre_field (by object-centric fields, --fields; an experiment)",
        choices=get_args(SplitMethod),
    )
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
    field: FieldSettings = nested(FieldSettings)

    def check(self) -> None:
        """Raise ValueError where Canny's thresholds are the wrong way round, which OpenCV would swap in silence."""
        if self.canny_low > self.canny_high:
            raise ValueError(f"canny_low is {self.canny_low:g}, which is above canny_high, {self.canny_high:g}")
