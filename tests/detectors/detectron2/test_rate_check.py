"""An optimiser of another project that does not know the factor on the learning rate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.config import get_cfg
from detectron2.solver import build_optimizer as detectron2_optimizer
from torch.optim.optimizer import _global_optimizer_pre_hooks

from unseg_d2.detectors.detectron2.config import add_unseg_config
from unseg_d2.detectors.detectron2.rate_check import RateCheck
from unseg_d2.detectors.detectron2.trainer import build_optimizer
from unseg_d2.errors import UnsegError

pytestmark = pytest.mark.detectron2


@pytest.fixture
def cfg() -> Any:
    cfg = get_cfg()
    add_unseg_config(cfg)
    cfg.merge_from_list(["SOLVER.BASE_LR_MULTIPLIER", 4, "SOLVER.BASE_LR_MULTIPLIER_NAMES", ["1"]])
    return cfg


@pytest.fixture
def model(cfg: Any) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model.register_forward_pre_hook(RateCheck.from_config(cfg, model))
    return model


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()


def test_detectron2s_optimiser_is_refused_at_its_first_step(cfg: Any, model: nn.Module) -> None:
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(
        UnsegError, match="BASE_LR_MULTIPLIER is 4, but the optimiser does not know it; train with Unseg"
    ):
        step(model, detectron2_optimizer(cfg, model))
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters()))


def test_ours_is_accepted_and_looked_at_once(cfg: Any, model: nn.Module) -> None:
    hooks = len(_global_optimizer_pre_hooks)
    ours = build_optimizer(cfg, model)
    other = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    assert len(_global_optimizer_pre_hooks) == hooks + 1
    step(other, torch.optim.SGD(other.parameters(), lr=0.1))  # says nothing about our network
    assert len(_global_optimizer_pre_hooks) == hooks + 1
    ours.step()
    assert len(_global_optimizer_pre_hooks) == hooks
    step(model, ours)
    assert len(_global_optimizer_pre_hooks) == hooks


def test_the_warm_up_may_start_at_zero(cfg: Any, model: nn.Module) -> None:
    ours = build_optimizer(cfg, model)
    torch.optim.lr_scheduler.LambdaLR(ours, lambda _: 0.0)
    step(model, ours)
    theirs = detectron2_optimizer(cfg, model)
    torch.optim.lr_scheduler.LambdaLR(theirs, lambda _: 0.0)
    fresh = nn.Sequential(*model)
    fresh.register_forward_pre_hook(RateCheck.from_config(cfg, fresh))
    with pytest.raises(UnsegError, match="does not know it"):
        step(fresh, theirs)


def test_outside_training_nothing_waits(model: nn.Module) -> None:
    hooks = len(_global_optimizer_pre_hooks)
    model.eval()(torch.ones(1, 2))
    assert len(_global_optimizer_pre_hooks) == hooks
