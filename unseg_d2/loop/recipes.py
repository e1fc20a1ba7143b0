"""The recipe that a checkpoint knows, and whether a training may be resumed with another."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode
from msgspec.structs import replace

from unseg_d2.config.load import as_values, from_values
from unseg_d2.description import TASKS, Description, Task, versions
from unseg_d2.errors import CheckpointMismatch, UnsegError
from unseg_d2.manifest import CODE, TRAINING, changes, describe, resume_or_refuse
from unseg_d2.plugins import is_loaded
from unseg_d2.registry import code_of_parts
from unseg_d2.weight_kinds import kind_of_file

MAY_CHANGE = TRAINING
"""See `unseg_d2.manifest.TRAINING`."""
OF_DETECTORS = ("LOSSES.", "TEST.")
"""Beginnings of the keys of parts that the small networks do not have."""

MADE_FROM = "made_from"
"""Entry of a checkpoint with the sha256 of each input; earlier versions did not record it."""

logger = logging.getLogger(__name__)


def about_run(cfg: CfgNode, made_from: Mapping[str, str], about: Description | None = None) -> dict[str, Any]:
    """Return what the checkpoint of a small network knows of its run: the recipe, its inputs, the code of its plug-ins.

    Args:
        cfg: recipe.
        made_from: sha256 of each input, by name: ``features`` (the weights of the backbone), ``images``, ``targets``.
        about: what else its description says: task, features, supervision, data.
    """
    described = replace(about or Description(), recipe=cfg.dump(), versions=versions())
    return {**described.entries(), MADE_FROM: dict(made_from), **code_of_parts(cfg, without=OF_DETECTORS)}


def recipe_of(checkpoint: dict[str, Any], path: str | Path, task: Task, opts: Sequence[str] = ()) -> CfgNode:
    """Return the recipe in a checkpoint of a small network.

    Args:
        checkpoint: as :func:`~unseg_d2.loop.checkpoint.load_checkpoint` returns it.
        path: where it is from, for the error.
        task: that is expected.
        opts: ``KEY VALUE`` pairs that differ from the recipe.

    Raises:
        CheckpointMismatch: it is of another task.
        UnsegError: there is no recipe in it, or it names code that nobody else has named.
    """
    about = Description.of(checkpoint)
    if about.task != task:
        kind = kind_of_file(checkpoint)
        raise CheckpointMismatch(
            f"{path} is {kind.text}", TASKS[task], f"To use it, {kind.use.replace('FILE', str(path))}."
        )
    return recipe_in(about.recipe, path, opts)


def recipe_in(text: str, path: str | Path, opts: Sequence[Any] = ()) -> CfgNode:
    """Return the recipe that a checkpoint holds.

    A checkpoint is data, until the command says that it is trusted: its recipe lets no unknown code run.

    Args:
        text: the recipe, as YAML.
        path: of the checkpoint, for the error.
        opts: ``KEY VALUE`` pairs that differ from the recipe.

    Raises:
        UnsegError: the recipe is missing or damaged, or names code that nobody else has named.
    """
    stored, model = _stored(text, path, opts), None
    if not _is_trusted(opts):
        model = stored.get("MODEL")
    if isinstance(model, dict):
        stored = stored | {"MODEL": {**model, "TRUST_CHECKPOINT": False}}
    return from_values(stored, str(path), opts)


def _stored(text: Any, path: str | Path, opts: Sequence[Any] = ()) -> dict[str, Any]:
    """Return the values of the recipe in a checkpoint, none of which lets unknown code run when they are loaded."""
    try:
        stored = yaml.safe_load(text) if isinstance(text, str) else None
    except (yaml.YAMLError, RecursionError, ValueError):
        stored = None
    if not isinstance(stored, dict):
        raise UnsegError(f"The recipe in {path} is missing or damaged; take another checkpoint.")
    given = [(key, value) for key, value in zip(opts[::2], opts[1::2]) if key == "PLUGINS"]
    for key, value in given:
        from_values({}, str(path), [key, value])  # imports them
    plugins = stored.get("PLUGINS") or ()
    names = [plugins] if isinstance(plugins, str) else plugins if isinstance(plugins, (list, tuple)) else []
    unknown = [str(name) for name in names if not is_loaded(str(name))]
    if unknown and not _is_trusted(opts):
        raise UnsegError(
            f"The recipe in {path} names the plug-in {unknown[0]}, which is code; if you trust it, name it too "
            "(--import, PLUGINS)."
        )
    return stored


def _is_trusted(opts: Sequence[Any]) -> bool:
    return ("MODEL.TRUST_CHECKPOINT", "True") in zip(opts[::2], map(str, opts[1::2]))


def warn_of_other_features(checkpoint: dict[str, Any], name: str, content: str, path: str | Path, cfg: CfgNode) -> None:
    """Say so where a network meets features of the same width, but of another name, other weights or other code.

    Args:
        checkpoint: of the network.
        name: of the features that it meets.
        content: their checksum.
        path: where the checkpoint is from.
        cfg: recipe of the features.
    """
    if checkpoint.get("features", name) != name:
        logger.warning("%s was trained on features of %s, and sees those of %s.", path, checkpoint["features"], name)
    elif checkpoint.get(MADE_FROM, {}).get("features", content) != content:
        logger.warning("%s was trained on features of %s with other weights than it sees now.", path, name)
    code = code_of_parts(cfg, without=OF_DETECTORS)
    if CODE in checkpoint and (found := changes({CODE: checkpoint[CODE]}, code)):
        logger.warning("Since %s was trained, plug-ins differ: %s.", path, describe(found))


def check_recipe(
    checkpoint: dict[str, Any], path: Path, about: dict[str, Any], may_change: tuple[str, ...] = ()
) -> None:
    """Refuse to resume a training with another recipe than it began with; permitted changes are named in the log.

    Args:
        checkpoint: of the training, with its ``recipe``.
        path: where it is from, for the error.
        about: what the resumed run would write into its checkpoints, with its ``recipe`` and the code of its plug-ins.
        may_change: beginnings of keys that may differ besides those of `unseg_d2.manifest.TRAINING`.

    Raises:
        UnsegError: another key differs.
    """
    usual = {key: about.get(key) for key in (CODE, MADE_FROM)}  # earlier versions did not record them
    before, now = (
        as_values(from_values(_stored(content.get("recipe"), path), str(path)))
        | {key: content.get(key, value) for key, value in usual.items()}
        for content in (checkpoint, about)
    )
    by_content = ("FEATURES.WEIGHTS",) if "features" in checkpoint.get(MADE_FROM, {}) else ()
    resume_or_refuse(
        before,
        now,
        holds=f"{path} was trained",
        may_change=(*MAY_CHANGE, *by_content, *may_change),
        remedy="choose another OUTPUT_DIR, or begin anew with --restart",
    )
