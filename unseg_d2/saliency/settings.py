"""The settings of saliency: Sempart's head and losses, and the two tricks, with the paper's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from unseg_d2.settings import Settings, section, setting

Inversion = Literal["image", "batch", "none"]
CropPosition = Literal["uniform", "released"]
Cut = Literal["pixels", "patches"]


@section("SALIENCY")
@dataclass(frozen=True)
class SaliencySettings(Settings):
    """Views, graph and targets; the length and the rate of training are those of ``SOLVER``."""

    image_size: int = setting(
        320, "side of the square crop for training and, in the paper, for scoring", low=1, unit="px"
    )
    shorter_side: int = setting(
        335, "length of the shorter side before the crop (the text of the paper says 355)", low=1, unit="px"
    )
    predict_size: int = setting(
        0, "length of the shorter side for prediction; 0 keeps the image's size", low=0, unit="px"
    )
    flip: float = setting(0.5, "probability of a horizontal flip", low=0, high=1)
    jitter: Sequence[float] = setting(
        [0.4, 0.4, 0.2, 0.1], "largest change of brightness, contrast, saturation and hue", low=0
    )
    jitter_probability: float = setting(0.8, "probability of colour jitter", low=0, high=1)
    grayscale: float = setting(0.2, "probability of converting an image to grey", low=0, high=1)
    tau: float = setting(0.4, "cosine above which two patches are connected (equation 4)", symbol="tau", low=-1, high=1)
    eps: float = setting(
        1e-6, "weight of an edge between patches that are not connected (equation 4)", symbol="epsilon", low=0
    )
    sigma: float = setting(
        1.0,
        "squared difference of normalised colours at which the weight of a neighbour is 1 / e",
        symbol="sigma",
        above=0,
    )
    betas: Sequence[float] = setting([0.9, 0.99], "decay rates of AdamW's two running averages", low=0, below=1)
    decay: float = setting(
        0.0, "final share of the steps over which the learning rate falls to 0 (paper: 0)", low=0, high=1
    )
    targets: str = setting(
        "", "folder of masks to train on, instead of the graph losses: a second round as in SelfMask"
    )
    invert: Inversion = setting(
        "image",
        "invert masks that are mostly foreground: image (one by one) | batch (all or none; published) | none",
        choices=get_args(Inversion),
    )

    def check(self) -> None:
        """Raise ValueError where a list has another length than what it lists."""
        for name, length in (("jitter", 4), ("betas", 2)):
            if len(getattr(self, name)) != length:
                raise ValueError(f"{name} must have {length} entries, got {list(getattr(self, name))}")


@section("SALIENCY.HEAD")
@dataclass(frozen=True)
class HeadSettings(Settings):
    """Sempart's head."""

    width: int = setting(64, "channels of the tokens", low=1)
    depth: int = setting(2, "number of transformer layers", low=1)
    heads: int = setting(2, "number of attention heads", low=1)
    head_width: int = setting(64, "channels of an attention head", low=1)
    channels: Sequence[int] = setting(
        [192, 128], "channels of the upsampling blocks; the last number is repeated", low=1
    )

    def check(self) -> None:
        """Raise ValueError without channels."""
        if not self.channels:
            raise ValueError("channels must have at least one entry")


@section("SALIENCY.LINEAR")
@dataclass(frozen=True)
class LinearSettings(Settings):
    """The published linear heads, FOUND and UnionSeg; the defaults are FOUND's."""

    square: int = setting(
        0,
        "side of the square that an image is scaled to (UnionSeg: 224); 0 keeps its size and pads it",
        low=0,
        unit="px",
    )
    cut: Cut = setting(
        "pixels",
        "where the mask is cut at one half: pixels (after scaling: soft; FOUND) | patches (before; UnionSeg)",
        choices=get_args(Cut),
    )
    bilateral: bool = setting(
        False, "solve with REFINE.BILATERAL and keep what agrees with the mask, as FOUND's code does on request"
    )


@section("SALIENCY.LOSS")
@dataclass(frozen=True)
class LossSettings(Settings):
    """Weights of the losses."""

    ncut: float = setting(1.0, "weight of the normalised cut (equation 5)", symbol="lambda_ncut", low=0)
    gtv_coarse: float = setting(
        1.0, "weight of graph total variation on the patch grid (equations 7 to 9)", symbol="lambda_c", low=0
    )
    gtv_fine: float = setting(
        1.0, "weight of graph total variation on pixels (equations 7 to 9)", symbol="lambda_f", low=0
    )
    subresolution: float = setting(
        1.0, "weight of the difference between the two resolutions (equation 6)", symbol="lambda_SR", low=0
    )
    crop_ncut: float = setting(0.01, "weight of the normalised cut of the enlarged crop", symbol="lambda_ncut,s", low=0)
    multi_scale: float = setting(
        0.01, "weight of the difference between the mask's crop and the crop's mask", symbol="lambda_ms", low=0
    )


@section("SALIENCY.MULTI_SCALE")
@dataclass(frozen=True)
class MultiScaleSettings(Settings):
    """Trick 2: multi-scale consistency."""

    enabled: bool = setting(False, "train with multi-scale consistency")
    crop: CropPosition = setting(
        "uniform",
        "position of the crop: uniform | released (where the published code in effect crops)",
        choices=get_args(CropPosition),
    )
    fraction: float = setting(0.5, "length of the crop, as a share of each side", above=0, high=1)
    guided_target: bool = setting(True, "apply the guided filter to the crop's mask before it becomes the target")


@section("SALIENCY.GUIDED")
@dataclass(frozen=True)
class GuidedMaskSettings(Settings):
    """Trick 1: a guided filter of the predicted mask."""

    enabled: bool = setting(False, "apply the guided filter to the predicted mask")
    radius: int = setting(9, "radius of the window", symbol="r", low=1, unit="px")
    eps: float = setting(
        1e-3, "variance of the image, in [0, 1], below which the filter averages", symbol="epsilon", above=0
    )


@section("SALIENCY.TEST")
@dataclass(frozen=True)
class SaliencyTestSettings(Settings):
    """Scoring."""

    crop: int = setting(
        320, "side of the centre crop that is scored (the paper's protocol); 0 scores whole images", low=0, unit="px"
    )
