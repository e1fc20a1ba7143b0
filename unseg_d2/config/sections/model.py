"""Backbone, pyramid, anchors and RPN: Detectron2's keys and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unseg_d2.settings import Settings, section, setting


@section("MODEL")
@dataclass(frozen=True)
class ModelSettings(Settings):
    """The network as a whole."""

    device: str = setting("auto", "where the network runs: auto, cpu, cuda, cuda:1 and so on")
    meta_architecture: str = setting("GeneralizedRCNN", "how the parts are put together", builtin=("GeneralizedRCNN",))
    weights: str = setting("", "checkpoint to start from, or zoo:NAME; empty is a random initialisation")
    trust_checkpoint: bool = setting(False, "allow unpickling arbitrary objects from WEIGHTS, FEATURES.WEIGHTS too")
    mask_on: bool = setting(False, "predict masks as well as boxes")
    keypoint_on: bool = setting(False, "predict keypoints", choices=(False,))
    load_proposals: bool = setting(False, "take proposals from files", choices=(False,))
    pixel_mean: Sequence[float] = setting(
        [103.530, 116.280, 123.675], "mean of each channel, in the order of INPUT.FORMAT"
    )
    pixel_std: Sequence[float] = setting(
        [1.0, 1.0, 1.0], "standard deviation of each channel, in the order of INPUT.FORMAT", above=0
    )


@section("MODEL.BACKBONE")
@dataclass(frozen=True)
class BackboneSettings(Settings):
    """Which backbone."""

    name: str = setting(
        "build_resnet_backbone",
        "which backbone; the base recipe names build_resnet_fpn_backbone",
        builtin=("build_resnet_fpn_backbone",),
    )
    freeze_at: int = setting(2, "stages up to this one are frozen; 0 trains all", low=0, high=5)


@section("MODEL.RESNETS")
@dataclass(frozen=True)
class ResNetSettings(Settings):
    """ResNets."""

    depth: int = setting(50, "layers", choices=(18, 34, 50, 101, 152))
    out_features: Sequence[str] = setting(["res4"], "stages handed to the FPN")
    norm: str = setting("FrozenBN", "normalisation: FrozenBN, BN, SyncBN or GN")
    num_groups: int = setting(1, "groups of the 3x3 convolutions", low=1)
    width_per_group: int = setting(64, "bottleneck width", low=1)
    stride_in_1x1: bool = setting(True, "stride in the first 1x1 (MSRA), else in the 3x3 (torchvision, DINO)")
    res5_dilation: int = setting(1, "dilation of the last stage", low=1, builtin=(1,))
    res2_out_channels: int = setting(256, "64 for depth 18 and 34", low=1)
    stem_out_channels: int = setting(64, "channels of the stem", low=1, builtin=(64,))


@section("MODEL.FPN")
@dataclass(frozen=True)
class FPNSettings(Settings):
    """The feature pyramid."""

    in_features: Sequence[Any] = setting(
        [], "backbone stages that enter the pyramid", builtin=(["res2", "res3", "res4", "res5"],)
    )
    out_channels: int = setting(256, "channels of each pyramid level", low=1)
    norm: str = setting("", "normalisation: empty, BN, SyncBN or GN")
    fuse_type: str = setting(
        "sum", "how a level is joined with the coarser one", choices=("sum", "avg"), builtin=("sum",)
    )


@section("MODEL.ANCHOR_GENERATOR")
@dataclass(frozen=True)
class AnchorSettings(Settings):
    """Anchors."""

    name: str = setting("DefaultAnchorGenerator", "which anchors", builtin=("DefaultAnchorGenerator",))
    sizes: Sequence[Sequence[int]] = setting(
        [[32, 64, 128, 256, 512]], "side of the square anchor per level", above=0, unit="px"
    )
    aspect_ratios: Sequence[Sequence[float]] = setting([[0.5, 1.0, 2.0]], "height / width of the anchors", above=0)
    offset: float = setting(0.0, "offset of the first anchor, in strides", low=0, below=1)


@section("MODEL.PROPOSAL_GENERATOR")
@dataclass(frozen=True)
class ProposalGeneratorSettings(Settings):
    """Which network proposes regions."""

    name: str = setting("RPN", "which network proposes regions", builtin=("RPN",))
    min_size: int = setting(0, "smallest side of a proposal", low=0, unit="px")


@section("MODEL.RPN")
@dataclass(frozen=True)
class RPNSettings(Settings):
    """The region proposal network."""

    head_name: str = setting("StandardRPNHead", "which head", builtin=("StandardRPNHead",))
    in_features: Sequence[str] = setting(["res4"], "pyramid levels with anchors")
    boundary_thresh: int = setting(
        -1, "pixels that an anchor may lie outside the image by; -1 keeps all", builtin=(-1,)
    )
    iou_thresholds: Sequence[float] = setting(
        [0.3, 0.7], "below the first background, from the second on foreground", low=0, high=1
    )
    iou_labels: Sequence[int] = setting([0, -1, 1], "labels of the three intervals", low=-1, high=1)
    batch_size_per_image: int = setting(256, "anchors per image in the loss", low=1)
    positive_fraction: float = setting(0.5, "largest share of foreground in the loss", low=0, high=1)
    bbox_reg_loss_type: str = setting("smooth_l1", "loss of the boxes", builtin=("smooth_l1",))
    bbox_reg_loss_weight: float = setting(1.0, "weight of the box loss", low=0)
    bbox_reg_weights: Sequence[float] = setting((1.0, 1.0, 1.0, 1.0), "scale of (dx, dy, dw, dh)", above=0)
    smooth_l1_beta: float = setting(0.0, "where the smooth L1 loss turns linear; 0 is the L1 loss", low=0)
    loss_weight: float = setting(1.0, "weight of the objectness loss", low=0)
    pre_nms_topk_train: int = setting(12000, "proposals per level before NMS, training", low=1)
    pre_nms_topk_test: int = setting(6000, "proposals per level before NMS, test", low=1)
    post_nms_topk_train: int = setting(2000, "proposals per image after NMS, training", low=1)
    post_nms_topk_test: int = setting(1000, "proposals per image after NMS, test", low=1)
    nms_thresh: float = setting(0.7, "IoU of the NMS", low=0, high=1)
    conv_dims: Sequence[int] = setting([-1], "channels of the convolutions; -1: those of the input", builtin=([-1],))
