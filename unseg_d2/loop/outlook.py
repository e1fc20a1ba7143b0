"""How long a training will take on this machine, said once, as soon as some iterations have been measured."""

from __future__ import annotations

import logging
from contextvars import ContextVar

from unseg_d2.duration import in_words

LONG = 86400.0
"""Seconds from which the line is a warning, and names the way for photos of one's own."""

FOLLOWING: ContextVar[int] = ContextVar("FOLLOWING", default=0)
"""Iterations of the later trainings of a run; -1 where the whole run was planned for a time, which has been said."""

logger = logging.getLogger(__name__)


def outlook(iterations: int, seconds: float, following: int = 0) -> str:
    """Return the arithmetic of a training, and of those that follow.

    Args:
        iterations: that are left.
        seconds: of one.
        following: iterations of later trainings, which are taken to be as fast.

    >>> outlook(160000, 3.1, 240000)
    '160,000 iterations at 3.1 s: about 5 d 17 h on this machine; 240,000 more in the rounds after it: 14 d 8 h in all'
    """
    text = f"{iterations:,} iterations at {seconds:.2g} s: about {in_words(iterations * seconds)} on this machine"
    if following <= 0:
        return text
    whole = in_words((iterations + following) * seconds)
    return f"{text}; {following:,} more in the rounds after it: {whole} in all"


def say_outlook(iterations: int, seconds: float) -> None:
    """Log the outlook of a training; see :func:`outlook`."""
    following = FOLLOWING.get()
    if following < 0 or iterations <= 0:
        return
    line = outlook(iterations, seconds, following)
    if (iterations + following) * seconds < LONG:
        logger.info("%s.", line)
    else:
        logger.warning(
            "%s. For photos of your own: self-train without a recipe, with --budget 2h or another time.", line
        )
