"""Plug-ins: modules that register generators, features, depth sources, refiners, losses or evaluators when imported.

The parts of this package are registered in the same way. A module from outside is imported when ``--import MODULE`` or
``PLUGINS`` in a recipe names it, or always, if its package declares an entry point of the group ``unseg_d2.plugins``.
Recipes remember ``PLUGINS``, so that worker processes, resumed runs and checkpoints find them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType

from unseg_d2.errors import UnsegError

GROUP = "unseg_d2.plugins"
"""Group of the entry points."""

BUILT_IN = (
    "unseg_d2.config.sections",
    "unseg_d2.jobs.settings",
    "unseg_d2.data.settings",
    "unseg_d2.data.synthetic.settings",
    "unseg_d2.features",
    "unseg_d2.depth",
    "unseg_d2.masks",
    "unseg_d2.refine",
    "unseg_d2.losses",
    "unseg_d2.evaluation.class_agnostic",
    "unseg_d2.evaluation.per_class",
    "unseg_d2.evaluation.best_iou",
    "unseg_d2.evaluation.matched_classes",
    "unseg_d2.evaluation.panoptic",
    "unseg_d2.evaluation.corloc",
    "unseg_d2.evaluation.levels",
    "unseg_d2.evaluation.video",
    "unseg_d2.tracks.settings",
    "unseg_d2.groups.settings",
    "unseg_d2.saliency.settings",
    "unseg_d2.semantic.settings",
)
"""The modules of this package that register parts or sections of the configuration."""


def load_plugins(modules: Iterable[str] = ()) -> None:
    """Import what registers parts: this package's own, those of installed packages, and the named modules.

    Args:
        modules: names (``my_package.my_module``), looked for in the current folder too, or paths of files
            (``my_module.py``).

    Raises:
        UnsegError: there is no such module, or importing it fails.
    """
    _load_standard()
    for module in modules:
        _load_named(module)


def module_name(plugin: str) -> str:
    """Return the name in ``sys.modules`` of a plug-in: that of the module, or of the file without ``.py``."""
    return Path(plugin).stem if plugin.endswith(".py") else plugin


def is_loaded(plugin: str) -> bool:
    """Whether a plug-in, a module or a ``.py`` file, is imported already."""
    if not plugin.endswith(".py"):
        return plugin in sys.modules
    known = sys.modules.get(Path(plugin).stem)
    return known is not None and Path(str(getattr(known, "__file__", ""))).resolve() == Path(plugin).resolve()


@cache
def _load_standard() -> None:
    for module in BUILT_IN:
        importlib.import_module(module)
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:  # whatever the other package's code raises
            where = f" of {point.dist.name}" if point.dist else ""
            raise UnsegError(f"{_failed(f'{point.name}{where} ({point.value})', error)} Fix or uninstall it.") from None


@cache
def _load_named(name: str) -> None:
    if name in sys.modules:
        return
    try:
        if name.endswith(".py"):
            _import_file(Path(name))
        else:
            _import_from_here(name)
    except UnsegError:
        raise
    except Exception as error:  # whatever the module's code raises
        if isinstance(error, ModuleNotFoundError) and error.name in (name, name.split(".")[0]):
            message = f"There is no plug-in {name}: no module of that name is installed or found in {Path.cwd()}."
            raise UnsegError(message) from None
        raise UnsegError(_failed(name, error)) from None


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UnsegError(f"There is no plug-in {path}: the file does not exist.")
    known = sys.modules.get(path.stem)
    if known is not None:
        if Path(str(getattr(known, "__file__", ""))).resolve() == path.resolve():
            return known  # imported under its name before; a second run would make a second set of classes
        raise UnsegError(f"The plug-in {path} has the same name as another module, {path.stem}; rename the file.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _import_from_here(name: str) -> ModuleType:
    """Import a module, from the current folder too, as ``python -m`` does."""
    here = str(Path.cwd())
    if here in sys.path:
        return importlib.import_module(name)
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(here)


def _failed(name: str, error: Exception) -> str:
    what = str(error).strip().splitlines()
    return f"The plug-in {name} cannot be imported: {type(error).__name__}{f': {what[0]}' if what else ''}."
