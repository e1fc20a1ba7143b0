"""Files that are called as an image is, with another extension: its depth, its edges, its mask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.errors import UnsegError


def file_beside(stem: Path, extensions: Sequence[str], what: str) -> Path | None:
    """Return the file of an image, ``None`` where there is none.

    Args:
        stem: its path without the extension.
        extensions: that it may have, in small letters; each counts in capitals too.
        what: such a file is called in messages, such as "depth file".

    Raises:
        ImageProblem: there are several, of which none is more likely to be meant.
    """
    found: list[Path] = []
    for extension in extensions:
        for ending in (extension, extension.upper()):
            path = stem.with_name(stem.name + ending)
            if path.is_file() and not any(path.samefile(other) for other in found):  # some disks know no capitals
                found.append(path)
    if len(found) > 1:
        first, second = (path.name for path in found[:2])  # before the folder: reasons of failures are cut when long
        raise ImageProblem(f"it has more than one {what}, {first} and {second}: remove or rename one in {stem.parent}")
    return found[0] if found else None


def check_not_shared(names: Iterable[str], file_of: Callable[[str], Path | None]) -> None:
    """Refuse images whose names differ in their extensions alone, and that so have one file beside them for two.

    Args:
        names: of the images, with their folders.
        file_of: returns the file of an image, if it has one.

    Raises:
        UnsegError: two images share a file.
    """
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(os.path.splitext(name)[0], name)
        if other != name and (path := file_of(name)) is not None and path == file_of(other):
            raise UnsegError(f"{path} would belong to both images {other} and {name}; rename one of them and its file.")


def by_name(paths: Iterable[tuple[str, Path]], then: str) -> dict[str, Path]:
    """Return paths by the names that other files know them by.

    Args:
        paths: the name and the path of each.
        then: what would follow from two of one name, for the message.

    Raises:
        UnsegError: two have one name.
    """
    found: dict[str, Path] = {}
    for name, path in paths:
        other = found.setdefault(name, path)
        if other != path:
            raise UnsegError(f"{other} and {path} are both called {name}, so that {then}; rename one of them.")
    return found
