"""Backbone, pyramid, anchors and RPN: Detectron2's keys and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unseg_d2.config.sections.timm import REGISTERED, TIMM_FPN
from unseg_d2.settings import Settings, section, setting


@section("MODEL")
@dataclass(frozen=True)
class ModelSettings(Settings):
    """The network as a whole."""

    device: str = setting("auto", "where the network runs: auto, cpu, cuda, cuda:1 and so on")
    meta_architecture: str = setting("GeneralizedRCNN", "class of the whole network", builtin=("GeneralizedRCNN",))
    weights: str = setting("", "checkpoint to start from, or zoo:NAME; empty initialises at random")
    trust_checkpoint: bool = setting(
        False, "unpickle arbitrary objects, which can run code, from WEIGHTS and FEATURES.WEIGHTS"
    )
    channels_last: bool = setting(
        False, "hold feature maps with the channels last, as tensor cores read them; the built-in engine only"
    )
    compile: bool = setting(
        False, "compile the backbone with torch.compile, which needs a C++ compiler or Triton; the built-in engine only"
    )
    mask_on: bool = setting(False, "predict masks as well as boxes")
    keypoint_on: bool = setting(False, "predict keypoints; not supported", choices=(False,))
    load_proposals: bool = setting(False, "take proposals from files; not supported", choices=(False,))
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
        "function that builds the backbone: build_resnet_fpn_backbone (the base recipe), build_timm_fpn_backbone "
        "(MODEL.TIMM) or another of Detectron2's",
        builtin=("build_resnet_fpn_backbone", TIMM_FPN, REGISTERED),
    )
    freeze_at: int = setting(2, "stages up to this one are frozen; 0 trains all", low=0, high=5)


@section("MODEL.RESNETS")
@dataclass(frozen=True)
class ResNetSettings(Settings):
    """ResNets."""

    depth: int = setting(50, "number of layers", choices=(18, 34, 50, 101, 152))
    out_features: Sequence[str] = setting(
        ["res4"], "stages handed to the FPN", builtin=(["res2", "res3", "res4", "res5"],)
    )
    norm: str = setting("FrozenBN", "normalisation layer: FrozenBN, BN, SyncBN or GN")
    num_groups: int = setting(1, "groups of the 3x3 convolutions", low=1)
    width_per_group: int = setting(64, "channels per group of the 3x3 convolutions in the first stage", low=1)
    stride_in_1x1: bool = setting(
        True, "stride in the first 1x1 convolution (MSRA) instead of the 3x3 one (torchvision, DINO)"
    )
    res5_dilation: int = setting(1, "dilation of the last stage", low=1, builtin=(1,))
    res2_out_channels: int = setting(256, "output channels of the first stage; 64 for depths 18 and 34", low=1)
    stem_out_channels: int = setting(64, "channels of the stem", low=1, builtin=(64,))
    stem_type: str = setting(
        "basic",
        "layers before the first stage: basic is one 7x7 convolution; a key of the DeepLab project of Detectron2, "
        "whose other stem is not supported",
        choices=("basic",),
    )
    res5_multi_grid: Sequence[int] = setting(
        [1, 1, 1],
        "dilation of each block of the last stage, times RES5_DILATION; a key of the DeepLab project, other values are "
        "not supported",
        choices=([1, 1, 1],),
    )


@section("MODEL.FPN")
@dataclass(frozen=True)
class FPNSettings(Settings):
    """The feature pyramid."""

    in_features: Sequence[Any] = setting(
        [], "backbone stages that enter the pyramid", builtin=(["res2", "res3", "res4", "res5"],)
    )
    out_channels: int = setting(256, "channels of each pyramid level", low=1)
    norm: str = setting("", "normalisation layer: empty (none), BN, SyncBN or GN")
    fuse_type: str = setting(
        "sum", "how a level is combined with the coarser one", choices=("sum", "avg"), builtin=("sum",)
    )


@section("MODEL.ANCHOR_GENERATOR")
@dataclass(frozen=True)
class AnchorSettings(Settings):
    """Anchors."""

    name: str = setting("DefaultAnchorGenerator", "class of the anchor generator", builtin=("DefaultAnchorGenerator",))
    sizes: Sequence[Sequence[int]] = setting(
        [[32, 64, 128, 256, 512]], "side of the square anchor, per level", above=0, unit="px"
    )
    aspect_ratios: Sequence[Sequence[float]] = setting(
        [[0.5, 1.0, 2.0]], "height / width of the anchors, per level or for all levels", above=0
    )
    offset: float = setting(0.0, "position of the first anchor, as a share of the stride", low=0, below=1)


@section("MODEL.PROPOSAL_GENERATOR")
@dataclass(frozen=True)
class ProposalGeneratorSettings(Settings):
    """Which network proposes regions."""

    name: str = setting("RPN", "class of the network that proposes regions", builtin=("RPN",))
    min_size: int = setting(0, "smallest side of a proposal", low=0, unit="px")


@section("MODEL.RPN")
@dataclass(frozen=True)
class RPNSettings(Settings):
    """The region proposal network."""

    head_name: str = setting(
        "StandardRPNHead", "class of the head of the region proposal network", builtin=("StandardRPNHead",)
    )
    in_features: Sequence[str] = setting(["res4"], "pyramid levels that have anchors")
    boundary_thresh: int = setting(
        -1, "how far an anchor may reach beyond the image; -1 keeps all", unit="px", builtin=(-1,)
    )
    iou_thresholds: Sequence[float] = setting(
        [0.3, 0.7], "IoU below which an anchor is background, and from which it is foreground", low=0, high=1
    )
    iou_labels: Sequence[int] = setting(
        [0, -1, 1],
        "labels below, between and above the thresholds: 0 background, -1 ignored, 1 foreground",
        low=-1,
        high=1,
    )
    batch_size_per_image: int = setting(256, "anchors sampled per image for the loss", low=1)
    positive_fraction: float = setting(0.5, "largest share of foreground among the sampled anchors", low=0, high=1)
    bbox_reg_loss_type: str = setting("smooth_l1", "kind of box regression loss", builtin=("smooth_l1",))
    bbox_reg_loss_weight: float = setting(1.0, "weight of the box regression loss, on top of LOSS_WEIGHT", low=0)
    bbox_reg_weights: Sequence[float] = setting(
        (1.0, 1.0, 1.0, 1.0), "scale of the regression targets (dx, dy, dw, dh)", above=0
    )
    smooth_l1_beta: float = setting(0.0, "error at which the smooth L1 loss becomes linear; 0 is the L1 loss", low=0)
    loss_weight: float = setting(1.0, "weight of both losses of the region proposal network", low=0)
    pre_nms_topk_train: int = setting(
        12000, "proposals kept per level before non-maximum suppression, in training", low=1
    )
    pre_nms_topk_test: int = setting(
        6000, "proposals kept per level before non-maximum suppression, at test time", low=1
    )
    post_nms_topk_train: int = setting(
        2000, "proposals kept per image after non-maximum suppression, in training", low=1
    )
    post_nms_topk_test: int = setting(
        1000, "proposals kept per image after non-maximum suppression, at test time", low=1
    )
    nms_thresh: float = setting(
        0.7, "IoU above which non-maximum suppression drops the lower-scoring proposal", low=0, high=1
    )
    conv_dims: Sequence[int] = setting(
        [-1], "channels of the convolutions; -1 keeps the number of input channels", builtin=([-1],)
    )
