"""The settings of a run on disk: written before its first work, compared when it is resumed.

A folder belongs to one run. Resuming it with other settings would mix two results in it, so changed settings are
refused by name, except those that a kind of run declares as harmless.

    open_or_refuse(
        folder / "manifest.json",
        {"images": "photos", "settings": {"TAU": 0.15}},
        holds=f"{folder} holds masks that were made",
        may_change=("settings.DEVICE",),
        remedy="choose another --output",
    )

What may change is said here for all kinds of runs (:data:`LABEL_SET`, :data:`PROPOSALS`, :data:`TRAINING`): where
something is, what it is computed on and how fast, how long, and how it is scored. Everything else defines the result.
Advice never costs finished work: another folder, or, where a command has it, ``--restart``.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json

MOST_NAMED = 5
"""Changes that a message names; of more it says how many."""
MOST_CHARACTERS = 80
"""Length of a value in a message, beyond which it is cut."""

logger = logging.getLogger(__name__)


LABEL_SET = (
    *("image_root", "not_images", "features.name"),  # places; features are known by their checksum
    *("settings.*.DEVICE", "settings.FEATURES.BATCH_SIZE", "settings.PSEUDO.SHARD_SIZE", "shard_size"),
    *("settings.FEATURES.WEIGHTS", "settings.DEPTH.CACHE", "supervision"),
)
"""Keys of a label set in the making that may differ: the shards that have begun keep their size."""
LABEL_SET_WARNED = ("versions.",)
"""Keys of a label set that may differ too, but can change the last digits of a mask."""
PROPOSALS = ("images",)
"""Keys of proposals that may differ: where the images are, which are known by content."""
TRAINING = (
    *("OUTPUT_DIR", "MODEL.DEVICE", "FEATURES.DEVICE", "MODEL.TRUST_CHECKPOINT", "DATALOADER.NUM_WORKERS"),
    *("DATALOADER.PIN_MEMORY", "VIS_PERIOD", "TRACKER", "PSEUDO.READERS", "PSEUDO.FINISHERS", "RAY."),
    *("SOLVER.MAX_ITER", "SOLVER.CHECKPOINT_PERIOD", "DATASETS.TEST", "TEST."),
)
"""Beginnings of the keys that may differ when any training is resumed: places, trust, speed, length and scoring."""

SELF_TRAINING = (
    *(
        "*.DEVICE",
        "MODEL.TRUST_CHECKPOINT",
        "OUTPUT_DIR",
        "DATALOADER.NUM_WORKERS",
        "DATALOADER.PIN_MEMORY",
        "FEATURES.BATCH_SIZE",
        "DEPTH.CACHE",
    ),
    *("SOLVER.CHECKPOINT_PERIOD", "VIS_PERIOD", "TRACKER", "RAY."),
    *("PSEUDO.SHARD_SIZE", "PSEUDO.READERS", "PSEUDO.FINISHERS"),
    *("TEST.EVALUATORS", "TEST.CLASS_AGNOSTIC", "TEST.PER_CLASS", "TEST.CORLOC", "TEST.NO_SEGM", "TEST.EVAL_PERIOD"),
    *("TEST.EXPECTED_RESULTS", "TEST.DETECTIONS_PER_IMAGE", "TEST.IMS_PER_BATCH"),
)
"""Keys of the recipes of a self-training run that may differ: places, speed and scoring; ground truth may too."""


class Absent:
    """The value of a key that is not there."""

    def __repr__(self) -> str:
        return "not set"


ABSENT = Absent()
CODE = "plugins"
"""Entry of a manifest with the sha256 of the code of each plug-in."""


class Change(NamedTuple):
    """A key, dotted where it is nested, with its value when the run began and now; :data:`ABSENT` where it has none."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        section, _, name = self.key.partition(".")
        if section == CODE and not {ABSENT, None} & {self.old, self.new}:
            return f"the code of the plug-in {name} has changed"
        return f"{self.key} was {_short(self.old)}, now {_short(self.new)}"


def changes(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Change]:
    """Return where two nested dictionaries differ, as JSON has them, sorted by key.

    >>> [str(change) for change in changes({"A": {"B": 1, "C": (2, 3)}}, {"A": {"B": 4, "C": [2, 3], "D": "x"}})]
    ['A.B was 1, now 4', "A.D was not set, now 'x'"]
    """
    return sorted(_leaves_that_differ(_as_json(stored), _as_json(settings)), key=lambda change: change.key)


def describe(found: Sequence[Change]) -> str:
    """Name keys with their old and new values, up to :data:`MOST_NAMED` of them, then a count."""
    more = len(found) - MOST_NAMED
    return "; ".join(map(str, found[:MOST_NAMED])) + (f"; and {more} more" if more > 0 else "")


def resume_or_refuse(
    stored: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    holds: str,
    remedy: str,
    may_change: Sequence[str] = (),
    warned: Sequence[str] = (),
    causes: str = "",
    gained: Mapping[str, Any] | None = None,
) -> list[Change]:
    """Compare the settings that a run began with and those it is resumed with.

    Args:
        stored: those that it began with; nested, plain values.
        settings: those that it is resumed with.
        holds: what the run is and where, such as ``runs/a holds a label set that was made``; the message begins with it
            and continues with *with other settings*.
        remedy: what the user can do, such as ``choose another --output``; the message ends with it.
        may_change: beginnings of dotted keys that may differ: places, devices, speed, length; ``*`` is any text.
        warned: beginnings of keys that may differ too, with a warning.
        causes: beginning of keys; where some of these differ, other differences follow from them and are not named.
        gained: defaults of dotted keys: a run of a version that did not know one was made with its default.

    Returns:
        The changes, all of which are permitted; one line of the log has named them.

    Raises:
        UnsegError: another key differs.
    """
    defaults = _as_json(gained or {})
    found = [change for change in changes(stored, settings) if not _is_gained(change, defaults)]
    wrong = [change for change in found if not _begins(change.key, (*may_change, *warned))]
    if wrong:
        named = [change for change in wrong if causes and change.key.startswith(causes)] or wrong
        raise UnsegError(f"{holds} with other settings: {describe(named)}. {remedy[:1].upper()}{remedy[1:]}.")
    doubtful = [change for change in found if _begins(change.key, warned)]
    if doubtful:
        logger.warning("%s with others; results may differ in their last digits: %s.", holds, describe(doubtful))
    plain = [change for change in found if change not in doubtful]
    if plain:
        logger.info("%s with other settings, which may change: %s.", holds, describe(plain))
    return found


def _is_gained(change: Change, defaults: Mapping[str, Any]) -> bool:
    """Whether a key or a section is new and has its default."""
    if change.old is not ABSENT:
        return False
    if isinstance(change.new, dict) and change.key not in defaults:
        inside = [Change(f"{change.key}.{name}", ABSENT, value) for name, value in change.new.items()]
        return bool(inside) and all(_is_gained(one, defaults) for one in inside)
    return change.key in defaults and change.new == defaults[change.key]


def _begins(key: str, patterns: Sequence[str]) -> bool:
    """Whether a dotted key begins with one of the patterns, in which ``*`` is any text."""
    return any(re.match(re.escape(pattern).replace(r"\*", ".*"), key) for pattern in patterns)


def open_or_refuse(
    path: Path,
    settings: Mapping[str, Any],
    *,
    holds: str,
    remedy: str,
    may_change: Sequence[str] = (),
    warned: Sequence[str] = (),
    causes: str = "",
    kept: Sequence[str] = (),
    gained: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Begin a run by writing its settings, or resume one that has the same.

    The file is complete or not there, so a run that was killed at any point knows its settings.

    Args:
        path: JSON file of the settings; where permitted keys have changed, it is written anew.
        settings: everything that the result depends on; nested, plain values.
        holds: see :func:`resume_or_refuse`.
        remedy: see :func:`resume_or_refuse`.
        may_change: see :func:`resume_or_refuse`.
        warned: see :func:`resume_or_refuse`.
        causes: see :func:`resume_or_refuse`.
        kept: keys, not nested, whose value stays that of the run's beginning.
        gained: see :func:`resume_or_refuse`.

    Returns:
        The settings as the file has them.

    Raises:
        UnsegError: the file is damaged, or the run began with other settings.
    """
    settings = _as_json(settings)
    if path.is_file():
        stored = read_manifest(path, remedy)
        settings |= {key: stored[key] for key in kept if key in stored}
        options: dict[str, Any] = {"may_change": may_change, "warned": warned, "causes": causes, "gained": gained}
        if not resume_or_refuse(stored, settings, holds=holds, remedy=remedy, **options):
            return settings
    write_json(path, settings, indent=1)
    return settings


def read_manifest(path: Path, remedy: str) -> dict[str, Any]:
    """Read the settings of a run.

    Raises:
        UnsegError: the file is damaged; the message ends with the remedy.
    """
    try:
        stored = json.loads(path.read_bytes())
    except ValueError as error:
        raise UnsegError(f"{path} is damaged ({error}); {remedy}.") from None
    if not isinstance(stored, dict):
        raise UnsegError(f"{path} is damaged (it holds no JSON object); {remedy}.")
    return stored


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary as it is read back: tuples as lists, keys as text."""
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _leaves_that_differ(old: Any, new: Any, key: str = "") -> Iterator[Change]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new and not (_is_empty(old) and _is_empty(new)):
            yield Change(key, old, new)
        return
    for name in old.keys() | new.keys():
        yield from _leaves_that_differ(old.get(name, ABSENT), new.get(name, ABSENT), f"{key}.{name}" if key else name)


def _is_empty(value: Any) -> bool:
    """A key that is not there says as much as null."""
    return value is None or value is ABSENT


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
