"""Recipes and overrides as Python code writes them, against those of a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.config.recipe import load_recipe
from unseg_d2.errors import UnsegError

RECIPE = "configs/quickstart.yaml"


@pytest.mark.parametrize(
    "overrides",
    [
        ("SOLVER.MAX_ITER", 7, "SOLVER.STEPS", (3, 5), "ENGINE", "builtin"),
        ("SOLVER.MAX_ITER", "7", "SOLVER.STEPS", "(3, 5)", "ENGINE", "builtin"),
        ({"SOLVER.MAX_ITER": 7, "SOLVER.STEPS": (3, 5), "ENGINE": "builtin"},),
        ({"SOLVER": {"MAX_ITER": 7, "STEPS": (3, 5)}, "ENGINE": "builtin"},),
    ],
)
def test_overrides_in_every_form(overrides: tuple) -> None:
    expected = load_cfg(RECIPE, ["SOLVER.MAX_ITER", "7", "SOLVER.STEPS", "(3, 5)", "ENGINE", "builtin"])
    assert load_recipe(RECIPE, *overrides) == expected
    assert load_recipe(Path(RECIPE), *overrides).is_frozen()


def test_a_configuration_is_a_recipe_and_stays_as_it_is() -> None:
    before = load_recipe(RECIPE)
    after = load_recipe(before, "SEED", 3, "OUTPUT_DIR", Path("somewhere"))
    assert after.SEED == 3 and after.OUTPUT_DIR == "somewhere" and after.is_frozen()
    assert before == load_cfg(RECIPE) and before.is_frozen()


def test_no_recipe_is_the_defaults() -> None:
    assert load_recipe() == load_cfg()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("SEED",), "alternating keys and values.*; got 'SEED'"),
        ((3, 4), "alternating keys and values.*; got 3, 4"),
        (({"SEEED": 1},), "Unknown key SEEED .*Did you mean 'SEED'"),
        (("SEED", "many"), "SEED in the overrides is 'many', but must be a whole number"),
    ],
)
def test_refusals(overrides: tuple, sentence: str) -> None:
    with pytest.raises(UnsegError, match=sentence):
        load_recipe(RECIPE, *overrides)


def test_an_unknown_recipe() -> None:
    with pytest.raises(UnsegError, match=r"no configuration file configs/quickstrt\.yaml\. Did you mean"):
        load_recipe("configs/quickstrt.yaml")
