"""Find the line of a recipe, or of one that it is based on, where a key is set: for error messages."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from unseg_d2.errors import UnsegError
from unseg_d2.recipes import find_recipe

BASE = "_BASE_"


def locate(path: Path, key: str) -> str:
    """Return ``FILE, line N`` of the statement that sets a key; only the file's name where no statement does.

    Args:
        path: recipe.
        key: dotted key, ``SOLVER.MAX_ITER``.
    """
    found = _search(path, key.split("."))
    return f"{path}" if found is None else f"{os.path.normpath(found[0])}, line {found[1]}"


def base_of(path: Path, name: str) -> Path:
    """Return the file that ``_BASE_: name`` in a recipe means: beside the recipe, or ``configs/...``, a shipped one.

    Raises:
        UnsegError: it does not exist.
    """
    beside = path.parent / Path(name).expanduser()
    if beside.is_file():
        return beside
    _, folder, shipped = beside.absolute().as_posix().rpartition("/configs/")
    if not folder:
        raise UnsegError(f"There is no file {beside}.")
    return find_recipe(f"configs/{shipped}")


def _search(path: Path, parts: list[str]) -> tuple[Path, int] | None:
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    node, line = root, None
    for part in parts:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        match = next(((name, value) for name, value in reversed(pairs) if name.value == part), None)
        if match is None:
            break
        line, node = match[0].start_mark.line + 1, match[1]
    else:
        return path, line or 1
    return next(filter(None, (_search(base, parts) for base in reversed(_bases(path, root)))), None)


def _bases(path: Path, root: yaml.Node | None) -> list[Path]:
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    named = [value for name, value in pairs if name.value == BASE]
    names = [entry.value for value in named for entry in (value.value if value.id == "sequence" else [value])]
    return [base_of(path, name) for name in names]
