"""Whether the optimiser of another project's trainer has the learning rates that the recipe asks for."""

from __future__ import annotations

import math
from typing import Any

from fvcore.common.config import CfgNode
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from unseg_d2.detectors.learning_rates import faster_modules
from unseg_d2.errors import UnsegError


class RateCheck:
    """A forward pre-hook of a network: looks once at the optimiser that makes the first step with its parameters.

    Detectron2's own ``build_optimizer`` knows no factor for single modules, and nothing else sees the optimiser.

    Args:
        names: modules that learn faster.
        factor: how much faster.
    """

    def __init__(self, names: set[str], factor: float) -> None:
        self.names, self.factor = names, factor
        self.armed = False

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> RateCheck:
        """Return the check for a Detectron2 configuration with the keys of this package and its network."""
        return cls(faster_modules(cfg, model), cfg.SOLVER.BASE_LR_MULTIPLIER)

    def __call__(self, model: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Wait for the first step, in training."""
        if self.armed or not model.training:
            return
        self.armed = True
        weights = {
            f"{name}.weight": parameter
            for name, module in model.named_modules()
            if isinstance(parameter := getattr(module, "weight", None), nn.Parameter) and parameter.requires_grad
        }

        def before_step(optimizer: Optimizer, *_: Any) -> None:
            rates = {id(p): g.get("initial_lr", g["lr"]) for g in optimizer.param_groups for p in g["params"]}
            faster = {rates.get(id(weights[f"{name}.weight"])) for name in self.names if f"{name}.weight" in weights}
            if faster == {None}:
                return  # somebody else's optimiser
            handle.remove()
            ordinary = (weight for name, weight in weights.items() if name.rpartition(".")[0] not in self.names)
            others = {rates[id(weight)] for weight in ordinary if id(weight) in rates}
            if None in faster or not all(self._is_faster(rate, others) for rate in faster):
                raise UnsegError(
                    f"SOLVER.BASE_LR_MULTIPLIER is {self.factor}, but the optimiser does not know it; train with "
                    "UnsegTrainer (unseg_d2.detectron2), or set it to 1."
                )

        handle = register_optimizer_step_pre_hook(before_step)

    def _is_faster(self, rate: Any, others: set[float]) -> bool:
        return any(math.isclose(rate, other * self.factor, rel_tol=1e-6) for other in others)
