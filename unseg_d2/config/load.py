"""Load a recipe: YAML with `_BASE_`, then KEY VALUE pairs, each mistake named in one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import yaml
from fvcore.common.config import CfgNode

from unseg_d2.config.defaults import get_cfg
from unseg_d2.config.limits import check_limits
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.recipes import find_recipe


def load_cfg(config_file: str | Path | None = None, opts: Sequence[str] = ()) -> CfgNode:
    """Return the frozen configuration of a recipe.

    Args:
        config_file: YAML file, or name of a shipped one, see :func:`unseg_d2.recipes.find_recipe`; ``_BASE_`` in it
            names the file it differs from, relative to it or, as ``configs/...``, a shipped one. ``None`` gives the
            defaults.
        opts: alternating keys and values, as on the command line (``["SOLVER.MAX_ITER", "100"]``).

    Raises:
        UnsegError: the file is missing or not YAML, a key is unknown, or a value has the wrong type or asks for
            something that neither engine does here.
    """
    cfg = get_cfg()
    if config_file is not None:
        merge(cfg, _read_yaml(find_recipe(config_file)), str(config_file))
    return with_options(cfg, opts)


def with_options(cfg: CfgNode, opts: Sequence[str]) -> CfgNode:
    """Merge the settings of a command line into a configuration and freeze it.

    Args:
        cfg: configuration to change.
        opts: alternating keys and values.

    Raises:
        UnsegError: see :func:`load_cfg`.
    """
    if len(opts) % 2:
        raise UnsegError(f"Overrides come as KEY VALUE pairs, but {len(opts)} words were given: {' '.join(opts)}")
    for key, text in zip(opts[::2], opts[1::2]):
        merge(cfg, _nested(key, _literal(text)), "the overrides")
    check_limits(cfg)
    cfg.freeze()
    return cfg


def merge(cfg: CfgNode, values: dict[str, Any], where: str) -> None:
    """Merge nested values into a configuration, in place.

    Args:
        cfg: configuration to change.
        values: nested dictionary of the keys that differ.
        where: named in the error message, usually the file.

    Raises:
        UnsegError: unknown key (with the nearest known one) or wrong type.
    """
    known = dict(_leaves(cfg))
    sections = {key.rsplit(".", depth)[0] for key in known for depth in range(1, key.count(".") + 1)}
    for key, value in _leaves(values):
        if key in sections:
            raise UnsegError(f"{key} in {where} is a section and cannot be set to {value!r}; set one of its keys.")
        if key not in known:
            raise UnsegError(f"Unknown key {key} in {where}.{nearest(key, known)}")
    for key, value in _leaves(values):
        try:
            cfg.merge_from_list([key, value])
        except (ValueError, AssertionError):
            expected = type(known[key]).__name__
            raise UnsegError(
                f"{key} in {where} is {value!r} of type {type(value).__name__}, but {expected} is expected."
            ) from None


def differing_keys(first: CfgNode, second: CfgNode) -> list[str]:
    """Return the keys whose values differ between two configurations that have the same keys, sorted."""
    values = dict(_leaves(second))
    return sorted(key for key, value in _leaves(first) if value != values[key])


class _Recipe(CfgNode):
    """Finds a ``_BASE_`` among the shipped recipes where there is no such file beside the recipe."""

    @classmethod
    def _open_cfg(cls, filename: str) -> IO[str]:
        _, folder, shipped = os.path.abspath(filename).replace(os.sep, "/").rpartition("/configs/")
        if folder and not os.path.isfile(filename):
            filename = str(find_recipe(f"configs/{shipped}"))
        return super()._open_cfg(filename)


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file and, below it, the files it is based on."""
    try:
        values = _Recipe.load_yaml_with_base(str(path), allow_unsafe=False)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UnsegError(f"{path} is not valid YAML{line}: {getattr(error, 'problem', error)}.") from None
    except (FileNotFoundError, AssertionError, UnsegError) as error:
        raise UnsegError(f"The _BASE_ of {path} cannot be read: {error}") from None
    except TypeError:
        values = None
    if not isinstance(values, dict):
        raise UnsegError(f"{path} is not a mapping of keys to values.")
    return values


def _leaves(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``("A.B.C", value)`` for every value of a nested dictionary."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _nested(key: str, value: Any) -> dict[str, Any]:
    """Return ``{"A": {"B": value}}`` for ``"A.B"``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _literal(text: str) -> Any:
    """Interpret a value of the command line as a Python literal, or leave it a string."""
    return CfgNode._decode_cfg_value(text)
