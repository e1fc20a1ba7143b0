"""Names that a person gives to groups: the file that the page saves, and the classes that follow from them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unseg_d2.data.annotations.parse import quoted, read_json
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.names import has_control
from unseg_d2.viz.decisions import KIND_OF_NAMES, VERSION

OTHER = "other"
"""Class of the masks that are in no group; a group of this name joins them."""


@dataclass(frozen=True)
class Classes:
    """The classes that groups become.

    Attributes:
        of_group: id of the category of each group.
        other: id of the category of masks that are in no group.
        categories: COCO categories ``{id, name}``, that of masks in no group last.
        notes: what a person should know about the names, a sentence each.
    """

    of_group: list[int]
    other: int
    categories: list[dict[str, Any]]
    notes: list[str]

    def listed(self, some_without: bool) -> list[dict[str, Any]]:
        """Return the categories of a label set: `other` only where masks are in no group, or a group joins them.

        Args:
            some_without: whether there are masks in no group.
        """
        return self.categories if some_without or self.other in self.of_group else self.categories[:-1]


@dataclass(frozen=True)
class NamesFile:
    """The names that a page has saved.

    Attributes:
        path: of the file.
        groups: fingerprint of the groups that are named.
        given: name by the number of a group, from 1 on, as text.
    """

    path: Path
    groups: str
    given: dict[str, str]

    def of(self, fingerprint: str, number: int) -> list[str]:
        """Return the name of each group without spaces around it, empty where it has none.

        Args:
            fingerprint: of the groups.
            number: of the groups.

        Raises:
            UnsegError: other groups are named, or a name has control characters.
        """
        if self.groups != fingerprint:
            raise UnsegError(
                f"{self.path} names other groups than these; save it from the page that is beside these groups."
            )
        places = {str(index + 1): index for index in range(number)}
        if stray := next((key for key in self.given if key not in places), None):
            raise UnsegError(f"{self.path} names the group {quoted(stray)}, but the groups are 1 to {number}.")
        names = [""] * number
        for key, name in self.given.items():
            if has_control(name):
                raise UnsegError(
                    f"{self.path}: the name {quoted(name)} of group {key} has control characters; type it again."
                )
            names[places[key]] = tidied(name)
        return names


def read_names(path: Path) -> NamesFile:
    """Read the names of groups, as the page saves them.

    Args:
        path: JSON file ``{"kind", "version", "groups": fingerprint, "names": {"1": name, ...}}``.

    Raises:
        UnsegError: the file is missing or damaged.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("kind") != KIND_OF_NAMES:
        raise UnsegError(f"{path} holds no names of groups; save them from the page of group-masks.")
    if content.get("version") != VERSION:
        raise UnsegError(
            f"{path} is of version {quoted(content.get('version'))} of {KIND_OF_NAMES}, but {VERSION} is read here."
        )
    given = content.get("names")
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given.values()):
        raise UnsegError(f'{path} is damaged: its "names" are no names by the numbers of groups; save it again.')
    return NamesFile(path, str(content.get("groups")), given)


def tidied(name: str) -> str:
    """Return a name in which what looks the same is the same: letters with accents, and spaces.

    >>> tidied(" cafe\u0301\u00a0 bar ") == "caf\u00e9 bar"
    True
    """
    return " ".join(unicodedata.normalize("NFC", name).split())


def classes_of(names: Sequence[str]) -> Classes:
    """Return the classes of groups: groups of one name are one class, and one without a name is called by its number.

    The id of a class is the number of the first group in it.

    >>> classes_of(["cat", "", "cat"]).categories
    [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'group 2'}, {'id': 4, 'name': 'other'}]
    """
    called = [name or f"group {number}" for number, name in enumerate(names, 1)]
    ids: dict[str, int] = {}
    for number, name in enumerate(called, 1):
        ids.setdefault(name, number)
    other = ids.pop(OTHER, len(names) + 1)
    of_group = [ids.get(name, other) for name in called]
    categories = [{"id": key, "name": name} for name, key in ids.items()]
    return Classes(of_group, other, [*categories, {"id": other, "name": OTHER}], _notes(names, called))


def _notes(names: Sequence[str], called: Sequence[str]) -> list[str]:
    """Say what became of names that may have been meant otherwise."""
    notes = []
    numbers: dict[str, list[str]] = {}
    for number, name in enumerate(called, 1):
        numbers.setdefault(name, []).append(str(number))
    for name, own in numbers.items():
        if name == OTHER:
            notes.append(f"Group {_listed(own)} is called {OTHER}, as the masks in no group are.")
        elif len(own) > 1:
            notes.append(f"Groups {_listed(own)} are all called {quoted(name)} and are one class.")
        if "," in name:
            notes.append(f"The name {quoted(name)} has a comma and stays one name.")
    folded: dict[str, str] = {}
    for name in (*numbers, OTHER):  # also where no group is called so, the masks in no group are
        before = folded.setdefault(name.casefold(), name)
        if before != name:
            notes.append(f"{quoted(before)} and {quoted(name)} differ in capitals only and are two classes.")
    unnamed = sum(not name for name in names)
    if 0 < unnamed < len(names):
        have = "group has" if unnamed == 1 else "groups have"
        notes.append(f"{unnamed} {have} no name and {'is' if unnamed == 1 else 'are'} called by number.")
    return notes


def _listed(numbers: Sequence[str]) -> str:
    return numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} and {numbers[-1]}"
