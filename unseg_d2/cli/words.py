"""The words of a command line before argparse reads them: settings taken out, former spellings renamed.

Settings, ``KEY VALUE`` or ``KEY=VALUE``, may stand anywhere, also after an option with any number of values; there, a
dotted word that is a file is a name. What is neither a setting nor an option nor the value of one is a mistake and is
reported here: argparse would instead complain about the first option that is missing because of it.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from unseg_d2.errors import nearest

TOP_LEVEL_KEYS = (
    "VERSION",
    "ENGINE",
    "OUTPUT_DIR",
    "SEED",
    "CUDNN_BENCHMARK",
    "DETERMINISTIC",
    "FLOAT32_PRECISION",
    "VIS_PERIOD",
    "PLUGINS",
    "TRACKER",
)
"""Keys outside any section."""

_KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)+")
_MANY = ("+", "*")


class WordError(ValueError):
    """A word that belongs nowhere; the message names it."""


@dataclass(frozen=True)
class Grammar:
    """What a command understands.

    Attributes:
        options: every option, with its number of values (``nargs`` of argparse).
        renamed: former spelling of an option to the present one.
        unnamed: options whose value used to be given without a name, in the order of these values.
        settings: whether the command takes settings.
        positional: whether it takes words without a name.
    """

    options: Mapping[str, int | str | None]
    renamed: Mapping[str, str] = field(default_factory=dict)
    unnamed: tuple[str, ...] = ()
    settings: bool = False
    positional: bool = False


@dataclass
class Sorted:
    """The words of a command line, sorted.

    Attributes:
        words: what argparse is to read.
        settings: alternating keys and values.
        former: former spellings that occurred, each with the present one.
    """

    words: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    former: list[tuple[str, str]] = field(default_factory=list)


def is_key(word: str) -> bool:
    """Whether a word has the form of a configuration key.

    >>> [is_key(word) for word in ("MASKS.MASKCUT.TAU", "SEED", "Photos.A", "PHOTOS", "masks.tau")]
    [True, True, False, False, False]
    """
    return word in TOP_LEVEL_KEYS or _KEY.fullmatch(word) is not None


def sort_words(words: Sequence[str], grammar: Grammar) -> Sorted:
    """Take the settings out of a command line and replace former spellings.

    Args:
        words: as the shell gives them.
        grammar: of the command.

    Raises:
        WordError: an unknown option, a word that belongs to nothing, or a key without a value.
    """
    found, rest, unnamed = Sorted(), deque(words), deque(grammar.unnamed)
    many = ended = False
    while rest:
        word = rest.popleft()
        if word == "--" and not ended:
            ended, many = True, False
        elif _is_option(word) and not ended:
            many = _take_option(word, rest, grammar, found)
        elif grammar.settings and is_key(word.partition("=")[0]) and not (many and _is_file(word)):
            many = False
            found.settings += _setting(word, rest, grammar)
        elif many or grammar.positional:
            found.words.append(word)
        elif unnamed:
            option = unnamed.popleft()
            found.former.append((word, f"{option} {word}"))
            found.words += [option, word]
        else:
            raise WordError(_stray(word, grammar))
    return found


def _take_option(word: str, rest: deque[str], grammar: Grammar, found: Sorted) -> bool:
    """Move an option and its value over; return whether any number of further words belong to it."""
    given, equals, value = word.partition("=")
    name = grammar.renamed.get(given, given)
    if name not in grammar.options:
        raise WordError(f"unrecognized argument {given}.{nearest(given, _visible(grammar))}")
    if name != given:
        found.former.append((given, name))
    count = grammar.options[name]
    if equals or count == 0:
        found.words.append(f"{name}{equals}{value}")
    elif count in _MANY:
        found.words.append(name)
        return True
    elif not rest or _is_other(rest[0], grammar):
        found.words.append(name)  # argparse says that its value is missing
    elif rest[0].startswith("-"):
        found.words.append(f"{name}={rest.popleft()}")  # a negative number, or a file of an odd name
    else:
        found.words += [name, rest.popleft()]
    return False


def _setting(word: str, rest: deque[str], grammar: Grammar) -> tuple[str, str]:
    """Return the key and the value that begin with a word."""
    key, equals, value = word.partition("=")
    if equals:
        return key, value
    if not rest or _is_other(rest[0], grammar):
        raise WordError(f"{key} needs a value: {key} VALUE, or {key}=VALUE.")
    return key, rest.popleft()


def _stray(word: str, grammar: Grammar) -> str:
    """Say that a word belongs to nothing, and what it may have meant."""
    hint = nearest(f"--{word}", _visible(grammar))
    key = word.partition("=")[0].upper()
    if is_key(word.partition("=")[0]):
        hint = " This command takes no settings of a recipe."
    elif grammar.settings and is_key(key):
        hint = f" Did you mean '{key}'?"
    return f"unrecognized argument {word}.{hint}"


def _is_option(word: str) -> bool:
    """Whether a word looks like an option and not like a negative number or a lone dash."""
    return re.fullmatch(r"--?[A-Za-z].*", word, flags=re.DOTALL) is not None


def _is_other(word: str, grammar: Grammar) -> bool:
    """Whether a word cannot be a value: an option of the command, or something that looks like a long one."""
    return word == "--" or word.partition("=")[0] in grammar.options or re.match("--[A-Za-z]", word) is not None


def _is_file(word: str) -> bool:
    """Whether a word that has the form of a key is the name of a file, as old cameras write them."""
    return word not in TOP_LEVEL_KEYS and os.path.exists(word)


def _visible(grammar: Grammar) -> list[str]:
    return [name for name in grammar.options if name.startswith("--")]
