"""The vocabulary of supervision."""

from __future__ import annotations

from typing import get_args

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.supervision import (
    MEANINGS,
    NOT_STATED,
    Supervision,
    checked,
    from_info,
    joined,
    legend,
    sentence,
    to_info,
)


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


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([["none"], ["none"]], ("none",)),
        ([["none"], ["depth"], ["imagenet-labels"]], ("imagenet-labels", "depth")),
        ([["none"], []], (NOT_STATED,)),  # nobody may read it as none
        ([["imagenet-labels"], []], ("imagenet-labels", NOT_STATED)),
        ([["imagenet-labels", NOT_STATED], ["none"]], ("imagenet-labels", NOT_STATED)),
        ([], (NOT_STATED,)),
    ],
)
def test_words_of_several_parts(parts, words):
    assert joined(parts) == words


def test_what_is_stored_is_read_again():
    words = joined([["imagenet-labels"], []])
    assert from_info({"supervision": to_info(words)}) == from_info({"supervision": list(words)}) == words
    assert "ImageNet labels in the backbone" in to_info(words)["imagenet-labels"]
    for nothing in ({}, {"supervision": None}, {"supervision": "none"}, {"supervision": ["gold"]}):
        assert from_info(nothing) == ()


def test_sentence():
    assert sentence(["none"]) == sentence([]) == ""
    assert "ImageNet labels in the backbone" in sentence(["imagenet-labels"])
    assert sentence(["imagenet-labels", NOT_STATED]).endswith("; supervision not stated: it was not recorded")
