"""Shell completion by argcomplete, if installed; everything here is read from files or names, without torch."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


def is_wanted() -> bool:
    """Whether a shell asks for completions and argcomplete is installed to answer."""
    return "_ARGCOMPLETE" in os.environ and importlib.util.find_spec("argcomplete") is not None


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, and exit."""
    import argcomplete

    argcomplete.autocomplete(parser)


def completed_by(action: argparse.Action, completer: Callable[..., list[str]]) -> None:
    """Let a function, called with the ``prefix`` typed so far, complete the values of an argument."""
    action.completer = completer  # type: ignore[attr-defined]  # argcomplete's own attribute


def words_before_cursor() -> list[str]:
    """Return the words of the line that the shell wants completed, without the program's name."""
    return os.environ["COMP_LINE"].split()[1:]


def recipes(prefix: str, **_: Any) -> list[str]:
    """Return the shipped recipes, and files and folders, whose names begin with a prefix."""
    from unseg_d2.recipes import RECIPES

    shipped = [f"configs/{path.relative_to(RECIPES).as_posix()}" for path in sorted(RECIPES.rglob("*.yaml"))]
    folder = Path(prefix).parent if not prefix.endswith("/") else Path(prefix)
    files = [f"{path}/" if path.is_dir() else str(path) for path in folder.glob("*")] if folder.is_dir() else []
    names = {name for name in [*shipped, *files] if name.startswith(prefix)}
    return sorted(name for name in names if name.endswith(("/", ".yaml")))


def keys(prefix: str, **_: Any) -> list[str]:
    """Return the keys of the configuration that begin with a prefix, one section at a time."""
    if not prefix[:1].isupper():
        return []
    from unseg_d2.config import get_cfg

    node, path = get_cfg(), prefix.split(".")[:-1]
    for part in path:
        node = node.get(part)
        if not isinstance(node, dict):
            return []
    names = [".".join([*path, name]) + ("." if isinstance(value, dict) else "") for name, value in node.items()]
    return [name for name in names if name.startswith(prefix)]


def generators(prefix: str = "", **_: Any) -> list[str]:
    """Return the names of the mask generators that come with the package, without importing any."""
    masks = Path(__file__).resolve().parents[1] / "masks"
    found = [
        name
        for path in masks.rglob("*.py")
        for name in re.findall(
            r"^@MASK_GENERATORS\.register\([^)]*\)\n(?:@.*\n)*class (\w+)", path.read_text(), flags=re.M
        )
    ]
    return sorted(name.lower() for name in found if name.lower().startswith(prefix.lower()))


def evaluators(prefix: str = "", **_: Any) -> list[str]:
    """Return the names of the evaluators that come with the package, without importing any."""
    folder = Path(__file__).resolve().parents[1] / "evaluation"
    found = [
        name
        for path in folder.glob("*.py")
        for name in re.findall(r"^@EVALUATORS\.register\(\"(\w+)\"", path.read_text(), flags=re.M)
    ]
    return sorted(name for name in found if name.startswith(prefix.lower()))
