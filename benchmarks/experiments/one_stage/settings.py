"""The settings of the experiment, and what stands for each rate and temperature that the publication leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unseg_d2.features.descriptors import FITS_UNIAP
from unseg_d2.masks.uniap import UniAPSettings
from unseg_d2.settings import Settings, setting

REGIONS = UniAPSettings(measure=FITS_UNIAP["MASKS.UNIAP.MEASURE"], taus=FITS_UNIAP["MASKS.UNIAP.TAUS"], masks="both")
"""How the teacher's regions are found: thresholds are quantiles, as for descriptors (docs/levels.md)."""


@dataclass(frozen=True)
class OneStageSettings(Settings):
    """Settings of the miniature; docs/one_stage.md says which of them are published."""

    size: Sequence[int] = setting(
        (192, 256), "height and width at which the teacher sees an image, multiples of 32", unit="px", low=64
    )
    patch_size: int = setting(8, "side of a patch, of which UniAP joins regions: a multiple of 4", unit="px", low=4)
    crops: int = setting(2, "crops of an image that the student sees", symbol="delta", low=1)
    crop_size: int = setting(96, "side of a crop after scaling, a multiple of 32", unit="px", low=32)
    scale: Sequence[float] = setting((0.05, 0.4), "range of the share of the image that a crop covers", above=0, high=1)
    own_share: float = setting(
        0.5, "weight of the teacher's own map beside the descriptors in the last step; it rises from 0", low=0, high=1
    )
    most_instances: int = setting(40, "instance regions of an image, those of the highest contrast", low=1)
    most_semantics: int = setting(15, "semantic regions of an image, those of the highest contrast", low=0)
    shares: Sequence[float] = setting((0.02, 0.95), "range of the share of a crop that a target covers", low=0, high=1)
    channels: int = setting(64, "of the maps, the queries and the decoder, a multiple of 8", low=8)
    layers: int = setting(2, "layers of the decoder", low=1)
    semantic_queries: int = setting(10, "queries of the semantic group", low=1)
    hidden: int = setting(256, "width of the projection head", low=1)
    prototypes: int = setting(64, "prototypes that queries are assigned to", symbol="K", low=2)
    student_temperature: float = setting(0.1, "temperature of the student's distribution", above=0)
    teacher_temperatures: Sequence[float] = setting(
        (0.04, 0.07), "temperature of the teacher's distribution in the first step and after its warm-up", above=0
    )
    temperature_warmup: float = setting(0.3, "share of the steps in which that temperature rises", low=0, high=1)
    centre_momentum: float = setting(0.9, "of the running mean that centres the teacher's logits", low=0, below=1)
    ema_decay: float = setting(0.99, "largest decay of the teacher's average of the student", low=0, below=1)
    query_weight: float = setting(1.0, "weight of the cross-entropy between matched queries", low=0)
    mask_weight: float = setting(5.0, "weight of the masks' binary cross-entropy", low=0)
    dice_weight: float = setting(5.0, "weight of the masks' Dice loss", low=0)
    score_weight: float = setting(2.0, "weight of the scores' binary cross-entropy", low=0)
    batch_size: int = setting(2, "images per step", low=1)
    base_lr: float = setting(6.25e-4, "learning rate after the warm-up; it falls to 0 by a cosine", above=0)
    warmup: float = setting(1 / 16, "share of the steps in which the learning rate rises", low=0, high=1)
    weight_decay: float = setting(0.05, "of AdamW", low=0)

    def check(self) -> None:
        """Raise ValueError where sizes do not fit the strides of the maps, or a range is none."""
        for name, sides, unit in (
            ("size", self.size, 32),
            ("crop_size", (self.crop_size,), 32),
            ("size", self.size, self.patch_size),
            ("patch_size", (self.patch_size,), 4),
            ("channels", (self.channels,), 8),
        ):
            if any(side % unit for side in sides):
                raise ValueError(f"{name} must be a multiple of {unit}, got {sides}")
        for name in ("size", "scale", "shares", "teacher_temperatures"):
            if len(getattr(self, name)) != 2:
                raise ValueError(f"{name} must be two numbers, got {getattr(self, name)}")
        if self.scale[0] > self.scale[1] or self.shares[0] >= self.shares[1]:
            raise ValueError("scale and shares must each be a smaller and a larger number")
