"""Optimiser, learning-rate schedule and gradient clipping, as in Detectron2."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Sequence

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from unseg_d2.detectors.learning_rates import faster_modules
from unseg_d2.errors import UnsegError

NORM_LAYERS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.SGD:
    """Return SGD with the learning rates and weight decays that ``SOLVER`` sets for norms, biases and the rest.

    Parameters with the same two values form a group; ``initial_lr`` is its learning rate after the warm-up.
    """
    solver, faster = cfg.SOLVER, faster_modules(cfg, model)
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            lr, weight_decay = solver.BASE_LR, solver.WEIGHT_DECAY
            if isinstance(module, NORM_LAYERS):
                weight_decay = solver.WEIGHT_DECAY_NORM
            if module_name in faster:
                lr *= solver.BASE_LR_MULTIPLIER
            if name == "bias":
                lr *= solver.BIAS_LR_FACTOR
                weight_decay = weight_decay if solver.WEIGHT_DECAY_BIAS is None else solver.WEIGHT_DECAY_BIAS
            groups[lr, weight_decay].append(parameter)
    return torch.optim.SGD(
        [
            {"params": parameters, "lr": lr, "initial_lr": lr, "weight_decay": weight_decay}
            for (lr, weight_decay), parameters in groups.items()
        ],
        lr=solver.BASE_LR,
        momentum=solver.MOMENTUM,
        nesterov=solver.NESTEROV,
        foreach=True,
    )


def lr_factor(
    iteration: int,
    *,
    steps: Sequence[int],
    gamma: float,
    max_iter: int,
    warmup_iters: int,
    warmup_factor: float,
    warmup_method: str,
) -> float:
    """Return the factor on the learning rate: a warm-up, then a drop at each step.

    Args:
        iteration: from 0.
        steps: iterations from which the factor is multiplied by ``gamma`` again; those after ``max_iter`` are ignored.
        gamma: factor per step.
        max_iter: length of the training; a longer warm-up is shortened to it.
        warmup_iters: length of the warm-up.
        warmup_factor: value at iteration 0.
        warmup_method: "linear" rises to 1 at the end of the warm-up, "constant" keeps ``warmup_factor`` until then.

    >>> kwargs = dict(steps=[8], gamma=0.1, max_iter=10, warmup_iters=4, warmup_factor=0.0, warmup_method="linear")
    >>> [lr_factor(t, **kwargs) for t in (0, 2, 4, 7, 8)]
    [0.0, 0.5, 1.0, 1.0, 0.1]
    """
    milestones = [step for step in steps if step <= max_iter]
    warmup_iters = min(warmup_iters, max_iter)
    if iteration >= warmup_iters:
        return gamma ** bisect.bisect_right(milestones, iteration)
    if warmup_method == "constant":
        return warmup_factor
    end = gamma ** bisect.bisect_right(milestones, warmup_iters)
    return warmup_factor + (end - warmup_factor) * (iteration / warmup_iters)


def set_learning_rate(optimizer: torch.optim.Optimizer, cfg: CfgNode, iteration: int) -> float:
    """Set the learning rate of every group for an iteration and return that of a group with ``BASE_LR``."""
    solver = cfg.SOLVER
    factor = lr_factor(
        iteration,
        steps=solver.STEPS,
        gamma=solver.GAMMA,
        max_iter=solver.MAX_ITER,
        warmup_iters=solver.WARMUP_ITERS,
        warmup_factor=solver.WARMUP_FACTOR,
        warmup_method=solver.WARMUP_METHOD,
    )
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    return solver.BASE_LR * factor


def clip_gradients(parameters: Sequence[nn.Parameter], clip: CfgNode) -> None:
    """Clip the gradients in place, as ``SOLVER.CLIP_GRADIENTS`` asks.

    Args:
        parameters: those of the optimiser; any without a gradient are skipped.
        clip: ``CLIP_TYPE`` is "value" (each element), "norm" (each parameter tensor separately) or "full_model"
            (all of them together).

    Raises:
        UnsegError: ``CLIP_TYPE`` is unknown.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if clip.CLIP_TYPE == "value":
        torch.nn.utils.clip_grad_value_(parameters, clip.CLIP_VALUE)
    elif clip.CLIP_TYPE == "norm":
        _clip_each_norm(gradients, clip.CLIP_VALUE, clip.NORM_TYPE)
    elif clip.CLIP_TYPE == "full_model":
        torch.nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, clip.NORM_TYPE)
    else:
        raise UnsegError(f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is '{clip.CLIP_TYPE}'; choose value, norm or full_model.")


def _clip_each_norm(gradients: list[Tensor], max_norm: float, norm_type: float) -> None:
    norms = torch.stack(torch._foreach_norm(gradients, norm_type))
    factors = (max_norm / (norms + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, list(factors.unbind()))
