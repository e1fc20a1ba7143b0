"""What was done to the pictures of a run, said once: in a line per kind for a label set, in the log elsewhere."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_said: set[str] = set()


class Treatments:
    """Counts of what was done to the pictures of a set, see :class:`~unseg_d2.data.pictures.reading.Picture`."""

    def __init__(self, treatments: Iterable[Mapping[str, Any]] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.types: set[str] = set()
        self.low, self.high = float("inf"), float("-inf")
        for treatment in treatments:
            self.add(treatment)

    def add(self, treatment: Mapping[str, Any]) -> None:
        """Count a picture."""
        if "type" in treatment:
            self.types.add(treatment["type"])
            self.counts["window" if treatment.get("window") else "used"] += 1
        if "from" in treatment:
            low, high = treatment["from"]
            self.low, self.high = min(self.low, low), max(self.high, high)
        treatment = _without_cause(treatment)
        for kind in ("turned", "unturned", "lying", "upright", "bands", "pages"):
            self.counts[kind] += kind in treatment

    def lines(self) -> list[str]:
        """Return a line per kind of treatment that occurred."""
        types = " and ".join(sorted(self.types))
        span = f"{self.low:g} to {self.high:g}"
        texts = {
            "used": "of {types}: each is stretched to 8 bit from the values that it uses ({span} over all), so its "
            "brightness changes with its content; INPUT.WINDOW [low, high] stretches all alike.",
            "window": "of {types}: stretched to 8 bit from INPUT.WINDOW ({span}).",
            "turned": "turned as EXIF says; INPUT.EXIF ignore leaves them as they are stored.",
            "unturned": "not turned as EXIF says, because INPUT.EXIF is ignore.",
            "lying": "not turned as EXIF says, because the annotations have the size of the stored picture.",
            "upright": "of HEIC turned as their format demands; INPUT.EXIF ignore changes nothing there.",
            "bands": "of more bands than are used: the first three are red, green and blue, of two the first is grey; "
            "INPUT.BANDS chooses others.",
            "pages": "of a stack: the first page is used; INPUT.BANDS chooses others.",
        }
        return [
            f"{self.counts[kind]} picture{'s' * (self.counts[kind] != 1)} {text.format(types=types, span=span)}"
            for kind, text in texts.items()
            if self.counts[kind]
        ]


def said(kinds: Iterable[str]) -> None:
    """Keep `say_once` silent about kinds of treatment that have been said otherwise."""
    _said.update(kinds)


def say_once(path: Path, treatment: Mapping[str, Any]) -> None:
    """Log what was done to the first picture of each kind; loader processes but the first stay silent."""
    treatment = _without_cause(treatment)
    new = treatment.keys() - {"from", "window"} - _said
    if not new:
        return
    _said.update(new)
    loading = sys.modules.get("torch.utils.data")  # without torch, which a picture does not need, there are no workers
    worker = loading.get_worker_info() if loading else None
    if worker is not None and worker.id:
        return
    for line in Treatments(
        [{key: value for key, value in treatment.items() if key in new | {"from", "window"}}]
    ).lines():
        logger.info("%s, and all like it: %s", path, line.removeprefix("1 picture "))


def _without_cause(treatment: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out that a picture was not turned where annotations, and not the recipe, are the reason."""
    return {kind: value for kind, value in treatment.items() if kind != "unturned" or "lying" not in treatment}
