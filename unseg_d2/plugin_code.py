"""What the code of plug-ins is, so that a run is not resumed with other code than it began with."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from unseg_d2.plugins import module_name

OURS = __name__.partition(".")[0]
INSTALLED = ("site-packages", "dist-packages")


def code_of(plugins: Iterable[str]) -> dict[str, str]:
    """Return what tells the code of plug-ins from other code.

    Args:
        plugins: modules or files, imported already; modules of this package, and those without a file, are left out.

    Returns:
        Name of each module to the sha256 of its file and of the files beside it, or in its package, that it imports.
        Code that it reads in other ways is not seen, and neither is that of installed packages that it uses.
    """
    modules = {name: sys.modules.get(name) for name in sorted({module_name(plugin) for plugin in plugins})}
    return {
        name: _sha256(module)
        for name, module in modules.items()
        if module is not None and name.partition(".")[0] != OURS and _file(module) is not None
    }


def _sha256(module: ModuleType) -> str:
    digest = hashlib.sha256()
    for path in sorted(_sources(module)):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _sources(module: ModuleType) -> set[Path]:
    """Return the files of a module and of what it imports from its folder or package, however indirectly."""
    start = _file(module)
    assert start is not None, module
    folder = _folder(module, start)
    found, waiting = {start}, [module]
    while waiting:
        for name in _imported(waiting.pop()):
            other = sys.modules.get(name)
            path = _file(other) if other is not None else None
            if other is not None and path is not None and path not in found and _is_below(path, folder):
                found.add(path)
                waiting.append(other)
    return found


def _folder(module: ModuleType, file: Path) -> Path | None:
    """The folder of a plug-in's own code: that of its package, or the one of its file; none for an installed file."""
    top = _file(sys.modules[module.__name__.partition(".")[0]]) if "." in module.__name__ else None
    if top is not None or hasattr(module, "__path__"):
        return (top or file).parent
    return None if file.parent.name in INSTALLED else file.parent


def _is_below(path: Path, folder: Path | None) -> bool:
    """Whether a file is in a folder, but not of a package that is installed there, or of this one."""
    if folder is None or not path.is_relative_to(folder):
        return False
    return not {*INSTALLED, OURS} & set(path.relative_to(folder).parts)


def _imported(module: ModuleType) -> Iterator[str]:
    """Yield the full names of the modules that a module's source names in imports, and of their packages."""
    file = _file(module)
    assert file is not None, module
    package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            whole = importlib.util.resolve_name(relative, package) if node.level else relative
            names = [whole, *(f"{whole}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _file(module: ModuleType) -> Path | None:
    path = getattr(module, "__file__", None)
    return Path(path).resolve() if path and path.endswith(".py") and Path(path).is_file() else None
