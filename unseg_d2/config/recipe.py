"""Recipes as Python code passes them: a name or a configuration, with settings that differ from it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from fvcore.common.config import CfgNode

from unseg_d2.config.load import load_cfg, with_options
from unseg_d2.errors import UnsegError

Recipe: TypeAlias = "str | os.PathLike[str] | CfgNode"
"""A YAML file, the name of a shipped recipe (``configs/quickstart.yaml``), or a configuration."""


def load_recipe(recipe: Recipe | None = None, *overrides: Any) -> CfgNode:
    """Return the frozen configuration of a recipe.

    Args:
        recipe: a YAML file, the name of a shipped recipe such as ``configs/quickstart.yaml``, or a configuration,
            which stays as it is; ``None`` gives the defaults.
        *overrides: settings that differ from the recipe: alternating keys and values, ``"SOLVER.MAX_ITER", 100``, or
            one mapping, ``{"SOLVER.MAX_ITER": 100}`` or ``{"SOLVER": {"MAX_ITER": 100}}``.

    Raises:
        UnsegError: the recipe does not exist, a key is unknown, or a value has the wrong type.
    """
    options = flat_options(overrides)
    if isinstance(recipe, CfgNode):
        return with_options(recipe, options)
    return load_cfg(None if recipe is None else os.fspath(recipe), options)


def flat_options(overrides: Sequence[Any]) -> list[Any]:
    """Return overrides as alternating keys and values.

    Args:
        overrides: alternating keys and values, or one mapping, see :func:`load_recipe`.

    Raises:
        UnsegError: it is neither.

    >>> flat_options([{"SOLVER": {"MAX_ITER": 100}, "SEED": 1}])
    ['SOLVER.MAX_ITER', 100, 'SEED', 1]
    """
    if len(overrides) == 1 and isinstance(overrides[0], Mapping):
        overrides = [word for pair in _leaves(overrides[0]) for word in pair]
    if len(overrides) % 2 or not all(isinstance(key, str) for key in overrides[::2]):
        raise UnsegError(
            "Overrides are alternating keys and values, 'SOLVER.MAX_ITER', 100, or one mapping, "
            f"{{'SOLVER.MAX_ITER': 100}}; got {', '.join(map(repr, overrides))}."
        )
    return [os.fspath(word) if isinstance(word, os.PathLike) else word for word in overrides]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
