"""Translation of the configuration to Detectron2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fvcore.common.config import CfgNode

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
import detectron2.config
from detectron2.solver import build_lr_scheduler

from unseg_d2.config import get_cfg
from unseg_d2.detectors.detectron2.config import add_unseg_config, to_detectron2
from unseg_d2.detectors.detectron2.trainer import build_optimizer

pytestmark = pytest.mark.detectron2


def leaves(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_our_defaults_are_those_of_detectron2() -> None:
    theirs, ours = dict(leaves(detectron2.config.get_cfg())), dict(leaves(get_cfg()))
    different = {key for key in theirs.keys() & ours.keys() if theirs[key] != ours[key]}
    assert different == {"SEED", "MODEL.DEVICE"}  # a fixed seed, and auto instead of cuda


def test_every_value_of_a_recipe_arrives(tiny_cfg: Callable[..., CfgNode]) -> None:
    recipe = tiny_cfg(MODEL__RESNETS__NORM="SyncBN", SOLVER__WEIGHT_DECAY_BIAS=0.0, ROUNDS__MATCH_IOU=0.4)
    translated = dict(leaves(to_detectron2(recipe)))
    changed = {key for key, value in leaves(recipe) if translated[key] != value}
    assert changed == {"MODEL.ROI_HEADS.NAME", "MODEL.ROI_MASK_HEAD.NAME", "MODEL.RESNETS.NORM"}
    assert translated["MODEL.ROI_HEADS.NAME"] == "DropLossCascadeROIHeads"
    assert translated["MODEL.RESNETS.NORM"] == "BN"


@pytest.mark.parametrize("name", ["StandardROIHeads", "CustomStandardROIHeads"])
def test_published_names_of_heads(name: str, tiny_cfg: Callable[..., CfgNode]) -> None:
    translated = to_detectron2(tiny_cfg(MODEL__ROI_HEADS__NAME=name))
    assert translated.MODEL.ROI_HEADS.NAME == "DropLossStandardROIHeads"


def test_what_needs_cuda_is_replaced_on_a_cpu_only(tiny_cfg: Callable[..., CfgNode]) -> None:
    options = {"MODEL__FPN__NORM": "SyncBN", "SOLVER__AMP__ENABLED": True, "SOLVER__REFERENCE_WORLD_SIZE": 8}
    on_cpu = to_detectron2(tiny_cfg(**options))
    assert not on_cpu.SOLVER.AMP.ENABLED
    assert on_cpu.MODEL.FPN.NORM == "BN"
    assert on_cpu.SOLVER.REFERENCE_WORLD_SIZE == 0
    on_cuda = to_detectron2(tiny_cfg(**options, MODEL__DEVICE="cuda"))
    assert on_cuda.SOLVER.AMP.ENABLED
    assert on_cuda.MODEL.FPN.NORM == "SyncBN"


def test_extends_the_configuration_of_a_user_of_detectron2(tmp_path: Path) -> None:
    cfg = detectron2.config.get_cfg()
    cfg.SEED = 3
    add_unseg_config(cfg)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "MODEL: {ROI_HEADS: {NAME: CustomCascadeROIHeads, USE_DROPLOSS: True, DROPLOSS_IOU_THRESH: 0.01}}"
    )
    cfg.merge_from_file(str(recipe))
    assert cfg.MODEL.ROI_HEADS.USE_DROPLOSS
    assert cfg.SEED == 3  # values of theirs stay
    assert cfg.DATALOADER.COPY_PASTE is False


def test_what_the_builtin_engine_refuses_is_left_to_detectron2(tiny_cfg):
    cfg = tiny_cfg(SOLVER__LR_SCHEDULER_NAME="WarmupCosineLR", SOLVER__MAX_ITER=100, SOLVER__BASE_LR=1.0)
    translated = to_detectron2(cfg)
    optimizer = build_optimizer(translated, torch.nn.Linear(1, 1))
    scheduler = build_lr_scheduler(translated, optimizer)
    for _ in range(50):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5)  # (1 + cos(pi / 2)) / 2
