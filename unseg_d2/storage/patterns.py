"""Patterns of names: ``shards/{000000..000127}.tar`` as webdataset writes them, ``shards/*.tar`` as shells do."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from unseg_d2.errors import UnsegError
from unseg_d2.storage import remote
from unseg_d2.storage.access import is_folder
from unseg_d2.storage.addresses import address_of, to_path

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
MOST = 1_000_000
"""Names that the braces of a pattern may stand for."""


def is_pattern(text: str) -> bool:
    """Whether a name has braces, ``*``, ``?`` or ``[``."""
    return bool(_BRACES.search(text)) or glob.has_magic(text)


def fixed_folder(pattern: str) -> str:
    """Return the folder of a pattern that is the same for all its names.

    >>> fixed_folder("data/shard-{0..9}.tar"), fixed_folder("s3://bucket/a/*/b.tar"), fixed_folder("*.tar")
    ('data', 's3://bucket/a', '.')
    """
    start = min(pattern.find(sign) for sign in "*?[{" if sign in pattern)
    return pattern[:start].rpartition("/")[0] or ("/" if pattern.startswith("/") else ".")


def image_root(named: str | os.PathLike[str]) -> Path:
    """Return the folder of images that ``labels.json::NAMED`` means: that of a pattern is the part that is fixed."""
    text = os.fspath(named)
    return to_path(text if is_folder(text) or not is_pattern(text) else fixed_folder(text))


def expanded(pattern: str) -> list[str]:
    """Return the names that a pattern stands for, in its order; those of braces need not be there.

    >>> expanded("a{08..10}.tar"), expanded("{b,a}.tar")
    (['a08.tar', 'a09.tar', 'a10.tar'], ['b.tar', 'a.tar'])

    Raises:
        UnsegError: braces hold no range of numbers, or too many.
    """
    return list(dict.fromkeys(name for text in _without_braces(pattern) for name in _matching(text)))


def _without_braces(text: str) -> Iterator[str]:
    found = _BRACES.search(text)
    if found is None:
        yield text
        return
    for choice in _choices(found[1]):
        for rest in _without_braces(text[found.end() :]):
            yield f"{text[: found.start()]}{choice}{rest}"


def _choices(inner: str) -> Iterator[str]:
    """Yield what a pair of braces stands for; the digits of the first number say how many all have."""
    numbers = _RANGE.fullmatch(inner)
    if numbers is None:
        yield from inner.split(",")
        return
    first, last = int(numbers[1]), int(numbers[2])
    if not first <= last < first + MOST:
        raise UnsegError(f"{{{inner}}} is no range of up to {MOST:,} numbers; write the lower one first.")
    for number in range(first, last + 1):
        yield f"{number:0{len(numbers[1])}d}"


def _matching(text: str) -> list[str]:
    if not glob.has_magic(text):
        return [text]
    if address := address_of(to_path(text)):
        return remote.matching(address)
    return sorted(glob.glob(os.path.expanduser(text), recursive=True))
