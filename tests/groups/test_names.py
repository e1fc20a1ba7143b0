"""Names of groups: what is refused, and the classes that they become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.groups.names import classes_of, read_names
from unseg_d2.viz.decisions import KIND_OF_NAMES

FILE = {"kind": KIND_OF_NAMES, "version": 1, "groups": "abc", "names": {"1": " cat ", "3": "dog, red"}}


def read(tmp_path: Path, **changes: Any) -> list[str]:
    path = tmp_path / "names.json"
    path.write_text(json.dumps(FILE | changes))
    return read_names(path).of("abc", 3)


def test_names_are_read_without_the_spaces_around_them(tmp_path: Path) -> None:
    assert read(tmp_path) == ["cat", "", "dog, red"]
    assert read(tmp_path, names={"2": "  "}) == ["", "", ""]


def test_names_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    """An accent of its own or one with its letter, and spaces of several kinds."""
    assert (
        read(tmp_path, names={"1": "caf\u00e9 bar", "2": "cafe\u0301  bar", "3": "caf\u00e9\u00a0bar"})
        == ["caf\u00e9 bar"] * 3
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "unseg_d2 decisions"}, "holds no names of groups; save them from the page"),
        ({"version": 2}, "is of version 2 of unseg_d2 names of groups, but 1 is read here"),
        ({"groups": "xyz"}, "names other groups than these"),
        ({"names": ["cat"]}, '"names" are no names'),
        ({"names": {"1": 7}}, '"names" are no names'),
        ({"names": {"4": "cow"}}, 'names the group "4", but the groups are 1 to 3'),
        ({"names": {"1": "two\nlines"}}, "of group 1 has control characters"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        read(tmp_path, **changes)


def test_groups_of_one_name_are_one_class() -> None:
    classes = classes_of(["cat", "dog", "cat", ""])
    assert classes.of_group == [1, 2, 1, 4] and classes.other == 5
    assert [(one["id"], one["name"]) for one in classes.categories] == [
        (1, "cat"),
        (2, "dog"),
        (4, "group 4"),
        (5, "other"),
    ]
    assert classes.notes == [
        'Groups 1 and 3 are all called "cat" and are one class.',
        "1 group has no name and is called by number.",
    ]


def test_a_group_that_is_called_other_joins_the_masks_in_none() -> None:
    classes = classes_of(["other", "dog"])
    assert classes.of_group == [1, 2] and classes.other == 1
    assert classes.categories == [{"id": 2, "name": "dog"}, {"id": 1, "name": "other"}]


def test_what_may_be_meant_otherwise_is_said() -> None:
    notes = classes_of(["a, b", "Cat", "cat", "group 4", ""]).notes
    assert 'The name "a, b" has a comma and stays one name.' in notes
    assert '"Cat" and "cat" differ in capitals only and are two classes.' in notes
    assert len(classes_of(["group 2", ""]).categories) == 2  # the one class, and other
    assert classes_of(["", ""]).notes == []


def test_a_class_that_is_nearly_called_other_is_named() -> None:
    classes = classes_of(["Other", "dog"])
    assert classes.of_group == [1, 2] and classes.other == 3
    assert classes.notes == ['"Other" and "other" differ in capitals only and are two classes.']
