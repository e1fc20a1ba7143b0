"""Times as people write them."""

from __future__ import annotations

import re

from unseg_d2.errors import UnsegError

_UNITS = {"d": 86400, "h": 3600, "m": 60, "min": 60, "s": 1}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s)", re.IGNORECASE)


def seconds_of(text: str) -> float:
    """Return a time in seconds.

    Args:
        text: ``2h``, ``90m``, ``1h 30m``, ``45s`` or ``1.5d``.

    Raises:
        UnsegError: it is not a time, or it is zero.

    >>> seconds_of("1h 30m"), seconds_of("2h"), seconds_of("0.5d")
    (5400.0, 7200.0, 43200.0)
    """
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        raise UnsegError(f"'{text}' is not a time; write 20m, 2h, 1h 30m or 1d.")
    seconds = sum(float(number) * _UNITS[unit.lower()] for number, unit in parts)
    if not seconds:
        raise UnsegError(f"The time is {text}, but some time is needed.")
    return seconds


def in_words(seconds: float) -> str:
    """Return a time in the two largest units that matter.

    >>> in_words(45), in_words(150), in_words(3660), in_words(200000)
    ('45 s', '2 min 30 s', '1 h 1 min', '2 d 7 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, size, lower, part in (("min", 60, "s", 1), ("h", 3600, "min", 60), ("d", 86400, "h", 3600)):
        if whole < size * (60 if unit == "min" else 24) or unit == "d":
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {lower}" if rest else "")
    raise AssertionError
