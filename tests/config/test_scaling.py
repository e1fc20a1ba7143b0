"""Linear scaling of a recipe, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.config.scaling import scale_to_world_size
from unseg_d2.errors import UnsegError

RECIPE = [
    "SOLVER.REFERENCE_WORLD_SIZE", "8", "SOLVER.IMS_PER_BATCH", "16", "SOLVER.BASE_LR", "0.01",
    "SOLVER.MAX_ITER", "160000", "SOLVER.STEPS", "(80000,)", "SOLVER.WARMUP_ITERS", "1000",
]  # fmt: skip


def test_one_gpu_of_eight() -> None:
    """16 images on 8 GPUs are 2 on one: an eighth of the learning rate, eight times the iterations."""
    cfg, lines = scale_to_world_size(load_cfg(None, RECIPE), 1)
    assert cfg.SOLVER.IMS_PER_BATCH == 2
    assert cfg.SOLVER.BASE_LR == pytest.approx(0.00125)
    assert cfg.SOLVER.MAX_ITER == 1_280_000
    assert cfg.SOLVER.STEPS == (640_000,)
    assert cfg.SOLVER.WARMUP_ITERS == 8000
    assert any("IMS_PER_BATCH: 16 x 0.125 = 2" in line for line in lines)


def test_scaling_twice_changes_nothing_more() -> None:
    once, _ = scale_to_world_size(load_cfg(None, RECIPE), 2)
    twice, lines = scale_to_world_size(once, 2)
    assert twice == once and not lines


def test_no_reference_takes_the_recipe_as_it_is() -> None:
    cfg, lines = scale_to_world_size(load_cfg(None, ["SOLVER.MAX_ITER", "5"]), 1)
    assert cfg.SOLVER.MAX_ITER == 5 and not lines


def test_batch_must_divide() -> None:
    with pytest.raises(UnsegError, match="cannot be divided among 3"):
        scale_to_world_size(load_cfg(None, ["SOLVER.IMS_PER_BATCH", "16"]), 3)
