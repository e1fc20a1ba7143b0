"""Optimiser, schedule and test: Detectron2's keys and defaults, and CutLER's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unseg_d2.settings import Settings, section, setting


@section("SOLVER")
@dataclass(frozen=True)
class SolverSettings(Settings):
    """Optimiser and schedule."""

    lr_scheduler_name: str = setting(
        "WarmupMultiStepLR", "how the learning rate changes", builtin=("WarmupMultiStepLR",)
    )
    max_iter: int = setting(40000, "iterations", low=0)
    base_lr: float = setting(0.001, "learning rate after warm-up", low=0)
    base_lr_multiplier: int = setting(1, "CutLER: factor on the learning rate of BASE_LR_MULTIPLIER_NAMES", low=0)
    base_lr_multiplier_names: Sequence[Any] = setting([], "CutLER: modules with that factor")
    momentum: float = setting(0.9, "momentum of SGD", low=0, below=1)
    nesterov: bool = setting(False, "Nesterov's variant of SGD")
    weight_decay: float = setting(0.0001, "L2 penalty", low=0)
    weight_decay_norm: float = setting(0.0, "L2 penalty of normalisation layers", low=0)
    weight_decay_bias: float | None = setting(None, "L2 penalty of biases; None is WEIGHT_DECAY", low=0)
    bias_lr_factor: float = setting(1.0, "factor on the learning rate of biases", low=0)
    gamma: float = setting(0.1, "factor on the learning rate at each step", low=0)
    steps: Sequence[int] = setting((30000,), "iterations at which GAMMA is applied", low=0)
    warmup_factor: float = setting(1.0 / 1000, "learning rate at iteration 0, relative", low=0, high=1)
    warmup_iters: int = setting(1000, "length of the warm-up", low=0)
    warmup_method: str = setting("linear", "how the learning rate rises", builtin=("linear", "constant"))
    checkpoint_period: int = setting(5000, "iterations between checkpoints", low=0)
    ims_per_batch: int = setting(16, "images per batch over all processes", low=1)
    reference_world_size: int = setting(0, "GPUs the recipe is written for; > 0 rescales it to --num-gpus", low=0)


@section("SOLVER.CLIP_GRADIENTS")
@dataclass(frozen=True)
class ClipGradientsSettings(Settings):
    """Clipping of gradients."""

    enabled: bool = setting(False, "clip gradients")
    clip_type: str = setting(
        "value", "value | norm (per parameter tensor) | full_model", choices=("value", "norm", "full_model")
    )
    clip_value: float = setting(1.0, "largest value or norm", above=0)
    norm_type: float = setting(2.0, "order of the norm")


@section("SOLVER.AMP")
@dataclass(frozen=True)
class AMPSettings(Settings):
    """Mixed precision."""

    enabled: bool = setting(False, "mixed precision (CUDA only; switched off elsewhere)")


@section("TEST")
@dataclass(frozen=True)
class TestSettings(Settings):
    """Evaluation."""

    eval_period: int = setting(0, "iterations between evaluations, 0 = at the end only", low=0)
    ims_per_batch: int = setting(1, "images of one size that the network sees at once when it predicts", low=1)
    detections_per_image: int = setting(100, "most detections per image; -1 keeps all", low=-1)
    expected_results: Sequence[Any] = setting(
        [], "[[iou_type, metric, value, tolerance], ...] checked after the last evaluation"
    )
    no_segm: bool = setting(False, "CutLER: evaluate boxes only")


@section("TEST.PRECISE_BN")
@dataclass(frozen=True)
class PreciseBNSettings(Settings):
    """Statistics of BatchNorm, computed anew."""

    enabled: bool = setting(False, "recompute BatchNorm statistics before the final checkpoint")
    num_iter: int = setting(200, "batches the statistics are computed from", low=1)


@section("TEST.AUG")
@dataclass(frozen=True)
class TestAugmentationSettings(Settings):
    """Test-time augmentation."""

    enabled: bool = setting(False, "test-time augmentation", choices=(False,))
