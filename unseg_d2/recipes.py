"""Find a recipe: on disk, or among those that come with the package."""

from __future__ import annotations

from pathlib import Path

from unseg_d2.errors import UnsegError, nearest

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "configs"  # put there by setup.py
RECIPES = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "configs"
"""Folder of the recipes: ``configs/`` of a clone, ``unseg_d2/configs`` of an installed package."""


def find_recipe(name: str | Path) -> Path:
    """Return the file of a recipe.

    Args:
        name: a file; where there is none of that name, a shipped recipe: ``configs/cutler/mask_rcnn_R_50_FPN.yaml``,
            with or without ``configs/``, or a shipped LazyConfig (``.py``).

    Raises:
        UnsegError: neither exists; the message suggests a shipped recipe with a similar name.
    """
    path = Path(name)
    if path.is_file():
        return path
    suffix = ".py" if path.suffix == ".py" else ".yaml"
    shipped = {file.relative_to(RECIPES).as_posix(): file for file in sorted(RECIPES.rglob(f"*{suffix}"))}
    inside = path.as_posix().removeprefix("configs/")
    if inside not in shipped:
        names = [f"configs/{known}" for known in shipped]
        raise UnsegError(f"There is no configuration file {name}.{nearest(f'configs/{inside}', names)}")
    return shipped[inside]
