from __future__ import annotations

from pathlib import Path

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.storage.patterns import expanded, image_root, is_pattern


def test_braces_stand_for_each_choice_in_its_order() -> None:
    assert expanded("s{00..02}/{b,a}.tar") == [f"s0{k}/{name}.tar" for k in range(3) for name in "ba"]
    assert expanded("{9..11}") == ["9", "10", "11"] and not is_pattern("shards/a.tar")


def test_stars_stand_for_what_is_there(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "a.txt"):
        (tmp_path / name).touch()
    assert expanded(f"{tmp_path}/*.tar") == [f"{tmp_path}/a.tar", f"{tmp_path}/b.tar"]
    assert expanded(f"{tmp_path}/{{b,a,c}}.t*") == [f"{tmp_path}/{name}" for name in ("b.tar", "a.tar", "a.txt")]


@pytest.mark.parametrize("inner", ["5..2", "0..9999999999"])
def test_ranges_that_are_none(inner: str) -> None:
    with pytest.raises(UnsegError, match="is no range of up to 1,000,000 numbers"):
        expanded(f"a{{{inner}}}.tar")


def test_the_root_of_a_pattern_is_its_fixed_folder(tmp_path: Path) -> None:
    assert image_root(f"{tmp_path}/shards/{{0..9}}.tar") == tmp_path / "shards"
    (tmp_path / "a[1]").mkdir()
    assert image_root(f"{tmp_path}/a[1]") == tmp_path / "a[1]"  # a folder whose name looks like one
