"""Modules that learn faster, and names that no module has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fvcore.common.config import CfgNode

from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.builtin.solver import build_optimizer
from unseg_d2.detectors.learning_rates import faster_modules
from unseg_d2.errors import UnsegError

NAMES = ["roi_heads.mask_head.predictor", "roi_heads.box_predictor.0.cls_score", "roi_heads.box_predictor.2.bbox_pred"]
"""Layers as CutLER's published files name them."""


def test_published_names_are_those_of_the_builtin_network(tiny_cfg: Callable[..., CfgNode]) -> None:
    cfg = tiny_cfg(SOLVER__BASE_LR_MULTIPLIER=4, SOLVER__BASE_LR_MULTIPLIER_NAMES=NAMES)
    model = build_model(cfg)
    assert faster_modules(cfg, model) == set(NAMES)
    rates = {id(p): group["lr"] for group in build_optimizer(cfg, model).param_groups for p in group["params"]}
    by_name = {name: rates[id(parameter)] for name, parameter in model.named_parameters() if id(parameter) in rates}
    assert by_name["roi_heads.mask_head.predictor.weight"] == 4 * cfg.SOLVER.BASE_LR
    assert by_name["roi_heads.box_predictor.1.cls_score.weight"] == cfg.SOLVER.BASE_LR


def test_a_factor_without_effect_is_refused(tiny_cfg: Callable[..., CfgNode]) -> None:
    cfg = tiny_cfg(SOLVER__BASE_LR_MULTIPLIER=4)
    with pytest.raises(UnsegError, match=r"BASE_LR_MULTIPLIER is 4, but has no effect: SOLVER\.BASE_LR_MULTIPLIER_NAM"):
        build_optimizer(cfg, build_model(cfg))
    wrong = tiny_cfg(SOLVER__BASE_LR_MULTIPLIER=4, SOLVER__BASE_LR_MULTIPLIER_NAMES=["roi_heads.mask_head.predictors"])
    with pytest.raises(UnsegError, match=r"no layer of that name with weights. Did you mean 'roi_heads.mask_head.pred"):
        build_optimizer(wrong, build_model(wrong))
    off = tiny_cfg(SOLVER__BASE_LR_MULTIPLIER_NAMES=["anything"])
    assert faster_modules(off, build_model(off)) == set()
