"""Names that a person gives to groups: the file that the page saves, and the classes that follow from them."""

from __future__ import annotations

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


def read_names(path: Path, fingerprint: str, number: int) -> list[str]:
    """Read the names of groups, as the page saves them.

    Args:
        path: JSON file ``{"kind", "version", "groups": fingerprint, "names": {"1": name, ...}}``.
        fingerprint: of the groups that are named.
        number: of the groups.

    Returns:
        The name of each group without spaces around it, empty where it has none.

    Raises:
        UnsegError: the file is missing or damaged, is of other groups, or a name has control characters.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("kind") != KIND_OF_NAMES:
        raise UnsegError(f"{path} holds no names of groups; save them from the page of group-masks.")
    if content.get("version") != VERSION:
        raise UnsegError(
            f"{path} is of version {quoted(content.get('version'))} of {KIND_OF_NAMES}, but {VERSION} is read here."
        )
    if content.get("groups") != fingerprint:
        raise UnsegError(f"{path} names other groups than these; save it from the page that is beside these groups.")
    given = content.get("names")
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given.values()):
        raise UnsegError(f'{path} is damaged: its "names" are no names by the numbers of groups; save it again.')
    numbers = {str(index + 1): index for index in range(number)}
    if stray := next((key for key in given if key not in numbers), None):
        raise UnsegError(f"{path} names the group {quoted(stray)}, but the groups are 1 to {number}.")
    names = [""] * number
    for key, name in given.items():
        if has_control(name):
            raise UnsegError(f"{path}: the name {quoted(name)} of group {key} has control characters; type it again.")
        names[numbers[key]] = name.strip()
    return names


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
    for name in dict.fromkeys(called):
        numbers = [str(number) for number, own in enumerate(called, 1) if own == name]
        if name == OTHER:
            notes.append(f"Group {_listed(numbers)} is called {OTHER}, as the masks in no group are.")
        elif len(numbers) > 1:
            notes.append(f"Groups {_listed(numbers)} are all called {quoted(name)} and are one class.")
        if "," in name:
            notes.append(f"The name {quoted(name)} has a comma and stays one name.")
    folded: dict[str, str] = {}
    for name in dict.fromkeys(called):
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
