"""Names of classes and pictures that a format cannot hold, refused in one sentence."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from unseg_d2.data.annotations.parse import quoted
from unseg_d2.errors import UnsegError


def class_names(categories: Sequence[dict[str, Any]], tool: str) -> dict[Any, str]:
    """Return the name of each category by its id, for a format that knows classes by their names.

    Args:
        categories: ``{id, name}`` each.
        tool: of the format, for messages.

    Raises:
        UnsegError: two categories have the same name, or the format cannot hold one.
    """
    names = {category["id"]: str(category["name"]) for category in categories}
    taken: dict[str, Any] = {}
    for key, name in names.items():
        if name in taken:
            raise UnsegError(
                f"The categories {quoted(taken[name])} and {quoted(key)} are both called {quoted(name)}, but {tool} "
                "knows classes by their names; rename one of them."
            )
        taken[name] = key
        if not name.strip() or name != name.strip() or has_control(name):
            raise UnsegError(
                f"{tool} cannot hold the class name {quoted(name)}: it is empty, begins or ends with a space, or "
                "has control characters; rename the category."
            )
    return names


def check_file_names(images: Iterable[dict[str, Any]], tool: str) -> None:
    """Refuse names of pictures with control characters, or that are not Unicode, for formats of plain text.

    Raises:
        UnsegError: a picture has such a name.
    """
    for image in images:
        if has_control(image["file_name"]):
            raise UnsegError(
                f"{tool} cannot hold the file name {quoted(image['file_name'])}: it has control characters or is not "
                "Unicode; rename the picture."
            )


def stems(images: Iterable[dict[str, Any]], tool: str) -> dict[Any, str]:
    """Return the name of each picture without its suffix by the id of the image, for formats with a file for each.

    Raises:
        UnsegError: two pictures would share a file.
    """
    found: dict[Any, str] = {}
    taken: dict[str, str] = {}
    for image in images:
        name = PurePosixPath(image["file_name"])
        if name.is_absolute() or ".." in name.parts:
            raise UnsegError(f"{tool} cannot hold the file name {quoted(str(name))}: it leads out of the image folder.")
        stem = str(name.with_suffix(""))
        if stem in taken:
            raise UnsegError(
                f"{quoted(taken[stem])} and {quoted(str(name))} would share one file in {tool}; rename one of them."
            )
        taken[stem] = str(name)
        found[image["id"]] = stem
    return found


def has_control(name: str) -> bool:
    """Whether a name has characters that no line of text and no XML can hold.

    >>> [has_control(name) for name in ("a, 'b' <c>", "two\\nlines", "half \\ud800")]
    [False, True, True]
    """
    return any(unicodedata.category(character) in ("Cc", "Cs") or character in "\ufffe\uffff" for character in name)
