"""What a system has learnt from besides unlabelled images: one vocabulary for the model zoo and for every table.

The field's tables mix systems that no human label has ever reached with others that start from supervised weights. Each
row therefore carries these words, and ``none`` is only said where nothing else is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from unseg_d2.errors import UnsegError

Supervision = Literal["none", "imagenet-labels", "human-masks", "sam-masks", "text-image", "depth"]
"""A kind of supervision, as registries and tables write it."""

MEANINGS: dict[Supervision, str] = {
    "none": "no label of any kind, in pretrained networks neither",
    "imagenet-labels": "ImageNet labels in the backbone, which was trained to tell its classes apart",
    "human-masks": "a network was trained with masks drawn by people",
    "sam-masks": "masks of SAM, which was trained with human masks",
    "text-image": "a network was trained with pairs of image and text",
    "depth": "a monocular depth network, most of which are trained with depth labels",
}
"""What each word means, in one line."""


NOT_STATED = "not stated"
"""Stands beside the words, or in place of them, where something was not recorded."""


def checked(words: Iterable[str]) -> tuple[Supervision, ...]:
    """Return the words in the order of :data:`MEANINGS`, each once.

    Args:
        words: one or more of :data:`MEANINGS`; ``none`` stands alone.

    Raises:
        UnsegError: there are none, one is unknown, or ``none`` is one of several.

    >>> checked(["depth", "text-image"])
    ('text-image', 'depth')
    """
    given = set(words)
    unknown = given - set(get_args(Supervision))
    if unknown or not given:
        wrong = ", ".join(sorted(unknown)) or "empty"
        raise UnsegError(f"The supervision is {wrong}; it must be one or more of {', '.join(MEANINGS)}.")
    if "none" in given and len(given) > 1:
        raise UnsegError(f"The supervision cannot be none and {', '.join(sorted(given - {'none'}))} at once.")
    return tuple(word for word in MEANINGS if word in given)


def legend(words: Iterable[Supervision] = tuple(MEANINGS)) -> list[str]:
    """Return a line per word, ``word: meaning``, for below a table; in the order of :data:`MEANINGS`, each once."""
    shown = set(words)
    return [f"{word}: {meaning}" for word, meaning in MEANINGS.items() if word in shown]


def joined(parts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Return what a result has learnt from that was made with several parts, such as weights and a label set.

    Args:
        parts: words of each; a part without any is not known.

    Returns:
        Words in the order of :data:`MEANINGS`, ``none`` only where nothing else is; then :data:`NOT_STATED` where it is
        true of a part, or where there is no part.

    >>> joined([["none"], ["imagenet-labels"]]), joined([["depth"], []]), joined([])
    (('imagenet-labels',), ('depth', 'not stated'), ('not stated',))
    """
    found = [set(part) or {NOT_STATED} for part in parts] or [{NOT_STATED}]
    words = set().union(*found)
    if words > {"none"}:
        words -= {"none"}
    return tuple(word for word in (*MEANINGS, NOT_STATED) if word in words)


def to_info(words: Iterable[str]) -> dict[str, str]:
    """Return words with their meanings, as label sets, tables and checkpoints keep them.

    >>> to_info(["depth", "not stated"])["not stated"]
    'it was not recorded'
    """
    meanings = {str(word): meaning for word, meaning in MEANINGS.items()} | {NOT_STATED: "it was not recorded"}
    return {word: meanings[word] for word in words}


def from_info(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words that the entry ``supervision`` of a label set's ``info``, or of a checkpoint, has; or none.

    >>> from_info({"supervision": {"depth": "..."}}), from_info({})
    (('depth',), ())
    """
    stored = content.get("supervision")
    words = stored if isinstance(stored, (Mapping, list, tuple)) else ()
    return tuple(word for word in (*MEANINGS, NOT_STATED) if word in words)


def sentence(words: Iterable[str]) -> str:
    """Return a line that says what a result has learnt from; empty where nobody needs to be told: ``none``, or nothing.

    >>> sentence(["imagenet-labels"])
    'supervision imagenet-labels: ImageNet labels in the backbone, which was trained to tell its classes apart'
    """
    told = to_info(word for word in words if word != "none")
    return "; ".join(f"supervision {word}: {meaning}" for word, meaning in told.items())
