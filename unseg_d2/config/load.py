"""Load a recipe: YAML with `_BASE_`, then KEY VALUE pairs, each mistake named in one sentence."""

from __future__ import annotations

import functools
import io
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import yaml
from fvcore.common.config import CfgNode

from unseg_d2.config.defaults import get_cfg
from unseg_d2.config.locate import locate
from unseg_d2.config.repeated import check_repeated
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.plugins import load_plugins
from unseg_d2.recipes import find_recipe
from unseg_d2.registry import REGISTRIES, check_unused, fit_to_names, set_by_names
from unseg_d2.settings import SECTIONS, all_settings, fitted, look_up

logger = logging.getLogger(__name__)

OVERRIDES = "the overrides"
_MOST_VALUES = 100_000
_ADDRESS = re.compile(r"(^|/)[a-z][a-z0-9+]+:/", re.IGNORECASE)
Place = Callable[[str], str]
"""Maps a key to the words that say where it was set."""


def load_cfg(
    config_file: str | Path | None = None, opts: Sequence[str] = (), *, plugins: Sequence[str] = ()
) -> CfgNode:
    """Return the frozen configuration of a recipe.

    Args:
        config_file: YAML file, or name of a shipped one, see :func:`unseg_d2.recipes.find_recipe`; ``_BASE_`` in it
            names the file it differs from, relative to it or, as ``configs/...``, a shipped one. ``None`` gives the
            defaults.
        opts: alternating keys and values, as on the command line (``["SOLVER.MAX_ITER", "100"]``).
        plugins: modules to import first, besides the recipe's ``PLUGINS``; the configuration remembers them there.

    Raises:
        UnsegError: the file is missing or not YAML, a key is unknown, a value has the wrong type or is out of range,
            or a plug-in cannot be imported.
    """
    if config_file is None:
        return from_values({}, OVERRIDES, opts, plugins=plugins)
    path = find_recipe(config_file)
    values = _read_yaml(path)
    return from_values(values, lambda key: locate(path, key), opts, plugins=plugins)


def from_values(
    values: Mapping[str, Any], where: str | Place, opts: Sequence[str] = (), *, plugins: Sequence[str] = ()
) -> CfgNode:
    """Return the frozen configuration that nested values and the settings of a command line describe.

    Args:
        values: nested dictionary of the keys that differ from the defaults, as a recipe states them.
        where: what the values come from, or a function that tells it for a key.
        opts: alternating keys and values; they take precedence.
        plugins: see :func:`load_cfg`.

    Raises:
        UnsegError: see :func:`load_cfg`.
    """
    modules = _plugins([*plugins, *_listed(values.get("PLUGINS", ()), where), *_named(opts)])
    load_plugins(modules)
    cfg = get_cfg()
    merge(cfg, values, where)
    return _overridden(cfg, opts, modules, {key for key, _ in _leaves(values)})


def with_options(cfg: CfgNode, opts: Sequence[Any]) -> CfgNode:
    """Return a frozen copy of a configuration with the settings of a command line.

    Args:
        cfg: configuration, frozen or not; it stays as it is.
        opts: alternating keys and values.

    Raises:
        UnsegError: see :func:`load_cfg`.
    """
    modules = _plugins([*cfg.PLUGINS, *_named(opts)])
    load_plugins(modules)
    whole = get_cfg()  # has the sections of plug-ins that the configuration does not have yet
    whole.merge_from_other_cfg(cfg)
    return _overridden(whole, opts, modules, _unlike_defaults(whole) if _names_parts(opts) else None)


def _names_parts(opts: Sequence[Any]) -> bool:
    return any(key in REGISTRIES for key, _ in _pairs(opts))


def _unlike_defaults(cfg: CfgNode) -> set[str]:
    """Return the keys that a configuration states, as far as it shows; what fits its parts goes back to the default."""
    defaults = {key: known.default for key, known in all_settings()}
    for registry in REGISTRIES.values():
        for name in registry.named(cfg):
            for key, value in registry.entry(name).fits.items() if name in registry.names() else ():
                section, _, last = key.rpartition(".")
                if look_up(cfg, key) == value:
                    look_up(cfg, section)[last] = defaults[key]
    return {key for key, default in defaults.items() if look_up(cfg, key) != default}


def _overridden(cfg: CfgNode, opts: Sequence[Any], modules: list[str], stated: set[str] | None) -> CfgNode:
    """Merge overrides in place, check that the settings fit together, and freeze.

    Args:
        cfg: configuration to change.
        opts: alternating keys and values.
        modules: its plug-ins.
        stated: keys that were set before; ``None`` leaves as they are the ones that parts are fitted by.
    """
    for key, value in _pairs(opts):
        merge(cfg, _nested(key, value), OVERRIDES)
    cfg.PLUGINS = modules
    if stated is not None:
        for line in fit_to_names(cfg, stated | {key for key, _ in _pairs(opts)}):
            _report(line, logging.INFO)
    for line in set_by_names(cfg):
        _report(line, logging.INFO)
    for name, settings in SECTIONS.items():
        settings.from_config(cfg, name)  # raises where two settings contradict each other
    check_unused(cfg)
    cfg.freeze()
    return cfg


def merge(cfg: CfgNode, values: Mapping[str, Any], where: str | Place) -> None:
    """Merge nested values into a configuration, in place.

    Args:
        cfg: configuration to change.
        values: nested dictionary of the keys that differ.
        where: what the values come from, or a function that says it of a key.

    Raises:
        UnsegError: unknown key (with the nearest known one), wrong type or value out of range.
    """
    known = dict(all_settings())
    for key, value in _leaves(values):
        if key in SECTIONS and key not in known:
            place = _place(where, key)
            raise UnsegError(f"{key} in {place} is a section and cannot be set to {value!r}; set one of its keys.")
        if key not in known:
            raise UnsegError(f"Unknown key {key} in {_place(where, key)}.{nearest(key, known)}")
        section, _, name = key.rpartition(".")
        try:
            taken = look_up(cfg, section)[name] = fitted(value, known[key])
        except ValueError as error:
            raise UnsegError(f"{key} in {_place(where, key)} is {error}.") from None
        if known[key].is_ignored(taken):
            _report(f"{key} in {_place(where, key)} is {taken!r}, which has no effect: {known[key].no_effect}.")


@functools.cache
def _report(line: str, level: int = logging.WARNING) -> None:
    """Log a line once, however often a recipe is loaded."""
    logger.log(level, line)


def _place(where: str | Place, key: str) -> str:
    """Say where a key was set; finding its line reads the recipe again, which is for errors only."""
    return where if isinstance(where, str) else where(key)


def as_values(cfg: CfgNode) -> dict[str, Any]:
    """Return a configuration as nested dictionaries of plain values, tuples as lists, as YAML has them."""
    values: dict[str, Any] = yaml.safe_load(cfg.dump())
    return values


def _plugins(named: Sequence[str]) -> list[str]:
    """Return the modules to import, each once; files by their whole path, since workers may run elsewhere."""
    return list(dict.fromkeys(str(Path(name).resolve()) if name.endswith(".py") else name for name in named))


def _named(opts: Sequence[Any]) -> list[str]:
    """Return the plug-ins that overrides name."""
    return [name for key, value in _pairs(opts) if key == "PLUGINS" for name in _listed(_literal(value), OVERRIDES)]


def _listed(value: Any, where: str | Place) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise UnsegError(f"PLUGINS in {_place(where, 'PLUGINS')} is {value!r}, but must be a list of modules.")
    return list(value)


class _Recipe(CfgNode):  # type: ignore[misc]  # fvcore ships no types
    """Finds a ``_BASE_`` among the shipped recipes where there is no such file beside the recipe."""

    @classmethod
    def _open_cfg(cls, filename: str) -> IO[str]:
        if not os.path.isfile(filename) and os.path.exists(filename):  # a pipe would be waited for
            raise UnsegError(f"{filename} is not a file.")
        if _ADDRESS.search(filename.replace(os.sep, "/")):  # of which the path has lost a slash
            raise UnsegError("it is an address, which is not fetched; put the file beside the recipe.")
        _, folder, shipped = os.path.abspath(filename).replace(os.sep, "/").rpartition("/configs/")
        if folder and not os.path.isfile(filename):
            filename = str(find_recipe(f"configs/{shipped}"))
        with super()._open_cfg(filename) as file:
            text = file.read()
        check_repeated(text, filename)
        return io.StringIO(text)


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file and, below it, the files it is based on."""
    try:
        values = _Recipe.load_yaml_with_base(str(path), allow_unsafe=False)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UnsegError(f"{getattr(error, 'file', path)} is not valid YAML{line}: {reason}.") from None
    except RecursionError:
        raise UnsegError(f"{path} is nested too deeply, or its _BASE_ leads back to it; correct that.") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise UnsegError(f"{path}, or its _BASE_, is not a recipe in UTF-8: {error}.") from None
    except (OSError, AssertionError, UnsegError) as error:
        if isinstance(error, OSError) and error.filename and Path(error.filename) == path:
            raise UnsegError(f"{path} cannot be read: {error.strerror}.") from None
        text = f"{error.filename}: {error.strerror}." if isinstance(error, OSError) and error.strerror else str(error)
        raise UnsegError(f"The _BASE_ of {path} cannot be read: {text}") from None
    except (TypeError, AttributeError):  # a _BASE_ that is no text, values that cannot be merged
        values = None
    if not isinstance(values, dict):
        raise UnsegError(f"{path} is not a mapping of keys to values with the name of a file as _BASE_.")
    if _size(values, _MOST_VALUES) > _MOST_VALUES:
        raise UnsegError(f"{path} holds more than {_MOST_VALUES} values, perhaps by references to itself.")
    return values


def _size(value: Any, most: int) -> int:
    """Return how many values there are in nested ones, without counting much beyond ``most``."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        item = waiting.pop()
        count += 1
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple, set)):
            waiting += item
    return count


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``("A.B.C", value)`` for every value of a nested dictionary."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _pairs(opts: Sequence[Any]) -> list[tuple[str, Any]]:
    if len(opts) % 2:
        raise UnsegError(
            f"Overrides come as KEY VALUE pairs, but {len(opts)} words were given: {' '.join(map(str, opts))}"
        )
    return list(zip(opts[::2], opts[1::2]))


def _nested(key: str, value: Any) -> dict[str, Any]:
    """Return ``{"A": {"B": value}}`` for ``"A.B"``."""
    nested: Any = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return dict(nested)


def _literal(value: Any) -> Any:
    """Interpret text as a Python literal where it is one."""
    return CfgNode._decode_cfg_value(value) if isinstance(value, str) else value
