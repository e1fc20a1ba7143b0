"""Results of papers, each with its source; the registry is ``published.json`` beside this file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class PublishedRow:
    """What a paper reports for a method on a data set.

    Attributes:
        method: its name.
        detector: network that was trained, or a note that there is none.
        supervision: pretrained networks that the method uses.
        dataset: built-in name of the data set.
        kind: ``bbox`` or ``segm``; empty where the source does not name it.
        setting: ``zero-shot`` (no image of the data set's domain was trained on) or ``in-domain``.
        figures: in percent, names of `unseg_d2.evaluation.class_agnostic.METRICS`.
        source: table or page that reports it.
        note: what a reader should know about it.
    """

    method: str
    detector: str
    supervision: str
    dataset: str
    kind: str
    setting: str
    figures: dict[str, float]
    source: str
    note: str = ""


@cache
def _registry() -> tuple[PublishedRow, ...]:
    content = json.loads(resources.files("unseg_d2.evaluation").joinpath("published.json").read_text(encoding="utf-8"))
    return tuple(PublishedRow(**row) for row in content["rows"])


def published_rows(dataset: str | None = None) -> list[PublishedRow]:
    """Return the rows of a data set.

    Args:
        dataset: built-in name, ``None`` for all rows.

    >>> [row.figures["AP50"] for row in published_rows("cls_agnostic_uvo")]
    [29.8, 31.7]
    """
    return [row for row in _registry() if dataset in (None, row.dataset)]
