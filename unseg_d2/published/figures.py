"""Figures of papers, each with its protocol, source and certainty; all stand in ``figures.json`` beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.supervision import Supervision, checked

TASKS = ("detection", "corloc", "saliency", "semantic", "panoptic")
SETTINGS = ("zero-shot", "in-domain", "")
"""``zero-shot``: no image of the benchmark's domain was trained on; empty: not stated, or meaningless for the task."""
CERTAINTIES = {
    "read": "read in the source itself",
    "deduced": "read in the source, in a table whose headings or marks were lost and follow from other rows",
    "digest": "read in a summary of the source, not in the source",
}


@dataclass(frozen=True)
class System:
    """A method as one of its papers reports it.

    Attributes:
        key: its name in ``figures.json``.
        name: as tables write it.
        venue: where it was published, with the year.
        network: what gives the results: a detector, a head, or ``training-free``.
        features: pretrained networks that it starts from.
        supervision: what those networks and its data have learnt from besides unlabelled images.
        note: what a reader of any of its figures should know.
    """

    key: str
    name: str
    venue: str
    network: str
    features: str
    supervision: tuple[Supervision, ...]
    note: str = ""


@dataclass(frozen=True)
class ImageSet:
    """A benchmark: images with annotations.

    Attributes:
        key: its name in ``figures.json``.
        title: as tables write it.
        dataset: built-in name of the data set, empty if there is none.
        images: their number, ``None`` where no source states it.
        note: what a reader of any figure on it should know.
    """

    key: str
    title: str
    dataset: str = ""
    images: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Protocol:
    """How figures were measured; those of two protocols must not be ranked together.

    Attributes:
        key: its name in ``figures.json``.
        title: in words.
        task: one of `TASKS`.
        max_detections: results per image that count, ``None`` where that means nothing or is not stated.
        note: what a reader of any figure in it should know.
    """

    key: str
    title: str
    task: str
    max_detections: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Source:
    """Paper, repository or page that reports figures.

    Attributes:
        key: its name in ``figures.json``.
        title: with authors or venue.
        url: its address.
    """

    key: str
    title: str
    url: str


@dataclass(frozen=True)
class PublishedRow:
    """What a source reports for a system on a benchmark.

    Attributes:
        system: the method.
        benchmark: images and annotations.
        kind: ``bbox`` or ``segm``; empty where the source does not name it, or neither is meant.
        setting: one of `SETTINGS`.
        protocol: how it was measured.
        figures: in percent, by the metric's name.
        source: who reports it.
        where: its table; may be empty.
        certainty: one of `CERTAINTIES`.
        variant: what differs from the system as it is usually reported; empty if nothing does.
        ablation: whether it belongs to a study of the system's parts.
        note: what a reader of these figures should know.
    """

    system: System
    benchmark: ImageSet
    kind: str
    setting: str
    protocol: Protocol
    figures: Mapping[str, float]
    source: Source
    where: str
    certainty: str
    variant: str = ""
    ablation: bool = False
    note: str = ""

    @property
    def citation(self) -> str:
        """Source and table in one phrase."""
        return ", ".join(part for part in (self.source.title, self.where) if part)

    @property
    def name(self) -> str:
        """System and variant in one phrase."""
        return f"{self.system.name}, {self.variant}" if self.variant else self.system.name


@dataclass(frozen=True)
class Registry:
    """Everything that ``figures.json`` holds, by key."""

    systems: Mapping[str, System]
    benchmarks: Mapping[str, ImageSet]
    protocols: Mapping[str, Protocol]
    sources: Mapping[str, Source]
    rows: tuple[PublishedRow, ...]


@cache
def registry() -> Registry:
    """Return everything that is published, as the package brings it."""
    return read_registry(
        json.loads(resources.files("unseg_d2.published").joinpath("figures.json").read_text(encoding="utf-8"))
    )


def read_registry(content: Mapping[str, Any]) -> Registry:
    """Build the registry from the content of ``figures.json``.

    Raises:
        KeyError: a row names a system, benchmark, protocol or source that is not listed.
        UnsegError: the supervision of a system is not in the vocabulary.
    """
    systems = {
        key: System(key, **{**item, "supervision": checked(item["supervision"])})
        for key, item in content["systems"].items()
    }
    benchmarks = {key: ImageSet(key, **item) for key, item in content["benchmarks"].items()}
    protocols = {key: Protocol(key, **item) for key, item in content["protocols"].items()}
    sources = {key: Source(key, **item) for key, item in content["sources"].items()}
    rows = tuple(
        PublishedRow(
            **{
                **item,
                "system": systems[item["system"]],
                "benchmark": benchmarks[item["benchmark"]],
                "protocol": protocols[item["protocol"]],
                "source": sources[item["source"]],
            }
        )
        for item in content["rows"]
    )
    return Registry(systems, benchmarks, protocols, sources, rows)


def published_rows(
    benchmark: str | None = None,
    *,
    system: str | None = None,
    source: str | None = None,
    where: str | None = None,
    ablations: bool = False,
) -> list[PublishedRow]:
    """Return the rows that fit, in the order of the file.

    Args:
        benchmark: key of a benchmark or built-in name of its data set; ``None`` for all.
        system: key of a system; ``None`` for all.
        source: key of a source; ``None`` for all.
        where: table of the source; ``None`` for all.
        ablations: return studies of a system's parts too; a ``where`` returns them in any case.

    >>> [row.figures["AP50"] for row in published_rows("uvo")]
    [29.8, 31.7]
    >>> [row.figures["AP"] for row in published_rows(source="cuts3d_v2", where="Table 7")]
    [8.5, 8.8, 9.0, 9.1]
    """
    return [
        row
        for row in registry().rows
        if benchmark in (None, row.benchmark.key, row.benchmark.dataset)
        and system in (None, row.system.key)
        and source in (None, row.source.key)
        and where in (None, row.where)
        and (ablations or where is not None or not row.ablation)
    ]


def published_figure(
    system: str,
    benchmark: str,
    metric: str,
    *,
    kind: str = "",
    source: str | None = None,
    where: str | None = None,
    variant: str | None = None,
) -> tuple[float, PublishedRow]:
    """Return one figure, in percent, and the row that reports it.

    Args:
        system: key of a system.
        benchmark: key of a benchmark.
        metric: its name.
        kind: ``bbox``, ``segm`` or empty.
        source: key of a source, needed where several report the figure.
        where: table of the source.
        variant: of the system; ``None`` for any.

    Raises:
        UnsegError: nothing is published under these names, or several figures are that differ.

    >>> published_figure("cutler", "coco_val2017", "AP", kind="segm")[0]
    9.7
    """
    known = registry()
    for key, names in ((system, known.systems), (benchmark, known.benchmarks)):
        if key not in names:
            raise UnsegError(f"Nothing is published under the name {key}.{nearest(key, names)}")
    rows = [
        row
        for row in published_rows(benchmark, system=system, source=source, where=where)
        if row.kind == kind and metric in row.figures and variant in (None, row.variant)
    ]
    what = " ".join(part for part in (kind, metric) if part)
    if not rows:
        raise UnsegError(f"No {what} of {system} on {benchmark} is published.")
    if len({row.figures[metric] for row in rows}) > 1:
        found = "; ".join(f"{row.figures[metric]} ({row.name}, {row.citation})" for row in rows)
        raise UnsegError(f"Several {what} of {system} on {benchmark} are published: {found}. Name source or variant.")
    return rows[0].figures[metric], rows[0]
