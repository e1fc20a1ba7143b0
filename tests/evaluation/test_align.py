from __future__ import annotations

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.align import align_images


def images(**names: str) -> list[dict[str, object]]:
    return [{"id": int(key[1:]), "file_name": name} for key, name in names.items()]


def test_names_decide_and_ids_do_not() -> None:
    assert align_images(images(i1="a.jpg", i2="b.jpg", i3="c.jpg"), images(i1="b.jpg", i9="a.jpg")) == {1: 9, 2: 1}


def test_whole_names_come_before_their_last_parts() -> None:
    assert align_images(images(i1="x/1.jpg", i2="y/1.jpg"), images(i5="y/1.jpg", i6="x/1.jpg")) == {1: 6, 2: 5}
    assert align_images(images(i1="val/1.jpg"), images(i5="1.jpg", i6="2.jpg")) == {1: 5}


def test_nothing_in_common_or_not_clear() -> None:
    with pytest.raises(UnsegError, match=r"begins with '1.jpg', the other with '2.jpg'"):
        align_images(images(i1="1.jpg"), images(i1="2.jpg"))
    with pytest.raises(UnsegError, match=r"1.jpg occurs in several folders"):
        align_images(images(i1="x/1.jpg", i2="y/1.jpg"), images(i1="1.jpg"))


def test_the_longest_ends_that_are_shared_decide() -> None:
    assert align_images(images(i1="./x/1.jpg", i2=".//y/1.jpg"), images(i5="y/1.jpg", i6="x/1.jpg")) == {1: 6, 2: 5}
    mine, theirs = images(i1="x/1.jpg", i2="y/1.jpg"), images(i5="/home/a/photos/y/1.jpg", i6="photos/x/1.jpg")
    assert align_images(mine, theirs) == {1: 6, 2: 5} and align_images(theirs, mine) == {6: 1, 5: 2}
    with pytest.raises(UnsegError, match=r"x/1.jpg occurs in several folders"):
        align_images(images(i1="a/x/1.jpg", i2="b/x/1.jpg"), images(i1="c/x/1.jpg"))
