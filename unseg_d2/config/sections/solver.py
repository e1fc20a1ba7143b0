"""Optimiser and schedule: Detectron2's keys and defaults, and CutLER's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unseg_d2.settings import Settings, section, setting


@section("SOLVER")
@dataclass(frozen=True)
class SolverSettings(Settings):
    """Optimiser and schedule."""

    lr_scheduler_name: str = setting("WarmupMultiStepLR", "learning rate schedule", builtin=("WarmupMultiStepLR",))
    max_iter: int = setting(40000, "number of iterations", low=0)
    base_lr: float = setting(0.001, "learning rate after warm-up", low=0)
    base_lr_multiplier: int = setting(
        1, "factor on the learning rate of the modules in BASE_LR_MULTIPLIER_NAMES (CutLER)", low=0
    )
    base_lr_multiplier_names: Sequence[Any] = setting(
        [], "modules whose learning rate is multiplied by BASE_LR_MULTIPLIER (CutLER)"
    )
    momentum: float = setting(0.9, "momentum of SGD", low=0, below=1)
    nesterov: bool = setting(False, "use Nesterov momentum")
    weight_decay: float = setting(0.0001, "weight decay (L2 penalty)", low=0)
    weight_decay_norm: float = setting(0.0, "weight decay of normalisation layers", low=0)
    weight_decay_bias: float | None = setting(None, "weight decay of biases; None takes WEIGHT_DECAY", low=0)
    bias_lr_factor: float = setting(1.0, "factor on the learning rate of biases", low=0)
    gamma: float = setting(0.1, "factor on the learning rate at each step", low=0)
    steps: Sequence[int] = setting((30000,), "iterations at which the learning rate is multiplied by GAMMA", low=0)
    warmup_factor: float = setting(1.0 / 1000, "learning rate at iteration 0, relative to BASE_LR", low=0, high=1)
    warmup_iters: int = setting(1000, "length of the warm-up in iterations", low=0)
    warmup_method: str = setting("linear", "how the learning rate rises in the warm-up", builtin=("linear", "constant"))
    checkpoint_period: int = setting(5000, "iterations between checkpoints", low=0)
    ims_per_batch: int = setting(16, "images per batch, over all processes", low=1)
    ema_decay: float = setting(
        0.0,
        "decay of the running average of the weights, which is evaluated and saved in their place; 0 keeps none; the "
        "built-in engine only",
        low=0,
        below=1,
    )
    accumulate: int = setting(
        1,
        "parts that the batch of each process is split into, whose gradients add up before a step, so that a batch "
        "fits into less memory; the built-in engine only",
        low=1,
    )
    reference_world_size: int = setting(
        0, "number of GPUs the recipe is written for; above 0 it is rescaled to --num-gpus", low=0
    )


@section("SOLVER.CLIP_GRADIENTS")
@dataclass(frozen=True)
class ClipGradientsSettings(Settings):
    """Clipping of gradients."""

    enabled: bool = setting(False, "clip gradients")
    clip_type: str = setting(
        "value", "value | norm (per parameter tensor) | full_model", choices=("value", "norm", "full_model")
    )
    clip_value: float = setting(1.0, "largest value or norm of a gradient", above=0)
    norm_type: float = setting(2.0, "p of the p-norm")


@section("SOLVER.AMP")
@dataclass(frozen=True)
class AMPSettings(Settings):
    """Mixed precision."""

    enabled: bool = setting(False, "mixed precision; CUDA only, off elsewhere")
