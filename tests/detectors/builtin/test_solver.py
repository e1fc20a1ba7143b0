from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fvcore.common.config import CfgNode
from torch import nn

from unseg_d2.detectors.builtin.solver import build_optimizer, clip_gradients, lr_factor, set_learning_rate
from unseg_d2.errors import UnsegError

SCHEDULE = {
    **{"steps": (60, 80), "gamma": 0.1, "max_iter": 100},
    **{"warmup_iters": 10, "warmup_factor": 0.001, "warmup_method": "linear"},
}


@pytest.mark.parametrize(
    ("iteration", "factor"),
    [(0, 0.001), (5, 0.5005), (10, 1.0), (59, 1.0), (60, 0.1), (79, 0.1), (80, 0.01), (99, 0.01)],
)
def test_warm_up_then_steps(iteration: int, factor: float) -> None:
    assert lr_factor(iteration, **SCHEDULE) == pytest.approx(factor)


def test_constant_warm_up() -> None:
    assert lr_factor(9, **{**SCHEDULE, "warmup_method": "constant"}) == 0.001


def test_a_warm_up_longer_than_the_training_is_shortened() -> None:
    assert lr_factor(10, **{**SCHEDULE, "max_iter": 20, "warmup_iters": 1000}) == pytest.approx(0.5005)


@pytest.mark.detectron2
def test_schedule_equals_detectron2s(tiny_cfg: Callable) -> None:
    solver = pytest.importorskip("detectron2.solver")
    from unseg_d2.detectors.detectron2.config import to_detectron2

    cfg = tiny_cfg(SOLVER__MAX_ITER=40, SOLVER__WARMUP_ITERS=12, SOLVER__STEPS=(8, 30, 50))
    weight = nn.Parameter(torch.zeros(1))
    theirs = torch.optim.SGD([weight], lr=cfg.SOLVER.BASE_LR)
    scheduler = solver.build_lr_scheduler(to_detectron2(cfg), theirs)
    ours = torch.optim.SGD([{"params": [weight], "initial_lr": cfg.SOLVER.BASE_LR}], lr=1.0)
    for iteration in range(40):
        assert set_learning_rate(ours, cfg, iteration) == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9)
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9)
        theirs.step()
        scheduler.step()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_groups(tiny_cfg: Callable) -> None:
    cfg = tiny_cfg(SOLVER__BIAS_LR_FACTOR=2.0, SOLVER__WEIGHT_DECAY_BIAS=0.5, SOLVER__BASE_LR_MULTIPLIER=4)
    cfg.SOLVER.BASE_LR_MULTIPLIER_NAMES = ["head"]
    net = Net()
    optimizer = build_optimizer(cfg, net)
    settings = {id(p): (g["initial_lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert len(settings) == 6
    assert settings[id(net.conv.weight)] == (0.01, 1e-4)
    assert settings[id(net.conv.bias)] == (0.02, 0.5)
    assert settings[id(net.norm.weight)] == (0.01, 0.0)
    assert settings[id(net.head.weight)] == (0.04, 1e-4)


def clip(kind: str) -> list[list[float]]:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, -4.0]), torch.tensor([0.1, 0.2])
    clip_gradients(parameters, CfgNode({"CLIP_TYPE": kind, "CLIP_VALUE": 1.0, "NORM_TYPE": 2.0}))
    return [parameter.grad.tolist() for parameter in parameters[:2]]


def test_clipping() -> None:
    assert clip("value") == [[1.0, -1.0], pytest.approx([0.1, 0.2])]
    assert clip("norm") == [pytest.approx([0.6, -0.8]), pytest.approx([0.1, 0.2])]
    norm = (25 + 0.05) ** 0.5
    assert clip("full_model") == [pytest.approx([3 / norm, -4 / norm]), pytest.approx([0.1 / norm, 0.2 / norm])]
    with pytest.raises(UnsegError, match="choose value, norm or full_model"):
        clip("norms")
