"""What a system has learnt from besides unlabelled images: one vocabulary for the model zoo and for every table.

The field's tables mix systems that no human label has ever reached with others that start from supervised weights. Each
row therefore carries these words, and ``none`` is only said where nothing else is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from unseg_d2.errors import UnsegError

Supervision = Literal["none", "imagenet-labels", "human-masks", "sam-masks", "text-image", "depth"]
"""A kind of supervision, as registries and tables write it."""

MEANINGS: dict[Supervision, str] = {
    "none": "no label of any kind, in pretrained networks neither",
    "imagenet-labels": "a backbone was trained with ImageNet's class labels",
    "human-masks": "a network was trained with masks drawn by people",
    "sam-masks": "masks of SAM, which was trained with human masks",
    "text-image": "a network was trained with pairs of image and text",
    "depth": "a monocular depth network, most of which are trained with depth labels",
}
"""What each word means, in one line."""


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
