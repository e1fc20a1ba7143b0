"""The recipe of a detector's checkpoint: the one in it, unless another is named."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config.recipe import Recipe, flat_options, load_recipe
from unseg_d2.description import TASKS, Description, read_description
from unseg_d2.detectors.about import differences
from unseg_d2.errors import CheckpointMismatch, UnsegError
from unseg_d2.loop.recipes import recipe_in
from unseg_d2.manifest import MOST_NAMED
from unseg_d2.recipes import RECIPES
from unseg_d2.zoo.registry import find
from unseg_d2.zoo.store import PREFIX, resolve

BASE_RECIPE = "base_cascade_mask_rcnn_R_50_FPN.yaml"
"""Recipe of checkpoints that nobody describes: CutLER's architecture."""

DETECTORS = ("instances", "classes")
"""Tasks of a detector."""

logger = logging.getLogger(__name__)


def detector_recipe(
    weights: str | os.PathLike[str], recipe: Recipe | None = None, *overrides: Any
) -> tuple[CfgNode, str]:
    """Return the recipe of a checkpoint, and a phrase that says which one it is.

    Args:
        weights: checkpoint of a whole detector, or ``zoo:NAME``.
        recipe: to use instead of the checkpoint's own: a YAML file, the name of a shipped recipe, or a configuration.
            The log names where it makes another network.
        *overrides: changes to the recipe: alternating keys and values, or one mapping.

    Raises:
        CheckpointMismatch: the checkpoint is of another task.
        UnsegError: there is no such checkpoint, or its recipe cannot be read.
    """
    name, options = os.fspath(weights), flat_options(overrides)
    shipped = find(name).recipe_file() if name.startswith(PREFIX) else None  # raises if it is not a detector
    path = Path(resolve(name))
    if not path.is_file():
        raise UnsegError(f"There is no checkpoint {name}.")
    about = _description(path, name)
    if recipe is not None:
        _say_differences(about, name, recipe)
        cfg = load_recipe(recipe, *options)
        return cfg, "the given configuration" if isinstance(recipe, CfgNode) else os.fspath(recipe)
    beside = path.parent / "config.yaml"
    if shipped is None and about.recipe:
        try:
            found = recipe_in(about.recipe, name, options)
            logger.info("Recipe of %s: its own.", name)
            return found, "that of the checkpoint"
        except UnsegError:
            if not beside.is_file():  # which may name plug-ins: it is a file of the user's, not of the checkpoint
                raise
    if shipped is not None:
        used, origin = shipped, f"{shipped.relative_to(RECIPES)}, the recipe of the zoo entry"
    elif beside.is_file():
        used, origin = beside, f"{beside}, found beside the checkpoint"
    else:
        used = RECIPES / BASE_RECIPE
        origin = f"{BASE_RECIPE}, because none was named and there is none in the checkpoint or beside it"
    logger.info("Recipe of %s: %s", name, origin)
    try:
        return load_recipe(used, *options), origin
    except UnsegError as error:
        raise UnsegError(f"{error} Recipe used: {origin}; name another one.") from None


def _description(path: Path, name: str) -> Description:
    """Return what a checkpoint says of itself; nothing where that needs trust, which its loading asks for.

    Raises:
        CheckpointMismatch: it is of another task.
    """
    try:
        about = read_description(path)
    except UnsegError:
        return Description()
    if about.task is not None and about.task not in DETECTORS:
        use = "`unseg-d2 demo` or `evaluate saliency`" if about.task == "saliency" else "`unseg-d2 evaluate semantic`"
        raise CheckpointMismatch(f"{name} is {TASKS[about.task]}", "a detector", f"To use it, give it to {use}.")
    return about


def _say_differences(about: Description, name: str, recipe: Recipe) -> None:
    """Warn of keys in which a named recipe makes another network than the one in the checkpoint."""
    if not about.recipe:
        return
    try:
        found = differences(recipe_in(about.recipe, name), load_recipe(recipe))
    except UnsegError as error:  # it needs a plug-in, or keys of a newer version
        logger.debug("The recipe in %s is not compared: %s", name, error)
        return
    if found:
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        logger.warning(
            "The named recipe describes another network than the one that %s was trained with: %s%s. Without "
            "--config-file, that one is used.",
            *(name, "; ".join(found[:MOST_NAMED]), more),
        )
