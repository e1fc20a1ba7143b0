"""The settings of UniAP, and what stands for each detail that the paper leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from unseg_d2.settings import Settings, setting

Measure = Literal["similarity", "quantile"]
Aggregate = Literal["mean", "sum"]
Attend = Literal["all", "region"]
Kinds = Literal["instance", "semantic", "both"]


@dataclass(frozen=True)
class UniAPSettings(Settings):
    """Settings of :func:`uniap`; both values of ``MASKS.MODE`` mean the same here."""

    taus: Sequence[float] = setting(
        (0.8, 0.7, 0.6, 0.5, 0.4),
        "threshold of each layer, falling; the finest layer first",
        symbol="tau",
        low=0,
        high=1,
    )
    measure: Measure = setting(
        "similarity",
        "what thresholds are: similarity | quantile (among the image's neighbouring patches: .8 joins a fifth of them)",
        choices=get_args(Measure),
    )
    feature_weight: float = setting(0.6, "weight of the similarity of features", symbol="omega_f", low=0, high=1)
    spatial_weight: float = setting(0.4, "weight of the spatial similarity", symbol="omega_s", low=0, high=1)
    sigma: float = setting(0.07, "temperature of the softmax that gives a region its feature", symbol="sigma", above=0)
    aggregate: Aggregate = setting(
        "mean",
        "affinities of a region's patches in that softmax: mean | sum (a large region then follows a single patch)",
        choices=get_args(Aggregate),
    )
    attend: Attend = setting(
        "all", "patches that the softmax runs over: all (as printed) | region", choices=get_args(Attend)
    )
    repeat: bool = setting(False, "join regions within a layer until no edge reaches its threshold (the released code)")
    masks: Kinds = setting(
        "instance",
        "masks to return: instance (connected regions) | semantic (joined regions wherever they lie) | both",
        choices=get_args(Kinds),
    )
    min_patches: int = setting(4, "smallest region that is a mask, patches", low=1)
    max_share: float = setting(0.9, "largest share of the grid that a mask covers", above=0, below=1)

    def check(self) -> None:
        """Raise ValueError without thresholds, or where they do not fall."""
        if not self.taus:
            raise ValueError("taus must name at least one threshold")
        if any(a < b for a, b in zip(self.taus, self.taus[1:])):
            raise ValueError(f"taus must fall from layer to layer, got {tuple(self.taus)}")

    def when_empty(self) -> str:
        """Return what to change where no region is a mask: all are small, or one covers the image."""
        if self.measure == "similarity":
            return (
                f"lower MASKS.UNIAP.TAUS (now {', '.join(map(str, self.taus))}) where patches stay alone, raise them "
                "where one region covers the image, or set MASKS.UNIAP.MEASURE quantile, which follows the image."
            )
        return (
            f"lower MASKS.UNIAP.TAUS (now {', '.join(map(str, self.taus))}) where patches stay alone, or raise them "
            "where one region covers the image."
        )
