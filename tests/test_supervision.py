"""The vocabulary of supervision."""

from __future__ import annotations

from typing import get_args

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.supervision import MEANINGS, Supervision, checked, legend


def test_every_word_has_a_meaning():
    assert tuple(MEANINGS) == get_args(Supervision)
    assert legend() == [f"{word}: {meaning}" for word, meaning in MEANINGS.items()]
    assert legend(["depth", "none", "depth"]) == [f"none: {MEANINGS['none']}", f"depth: {MEANINGS['depth']}"]


def test_words_are_put_in_order():
    assert checked(["depth", "imagenet-labels", "depth"]) == ("imagenet-labels", "depth")
    assert checked(["none"]) == ("none",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "The supervision is empty; it must be one or more of none, imagenet-labels"),
        (["labels", "depth"], "The supervision is labels; it must be"),
        (["depth", "none"], "cannot be none and depth at once"),
    ],
)
def test_wrong_words(words, message):
    with pytest.raises(UnsegError, match=message):
        checked(words)
