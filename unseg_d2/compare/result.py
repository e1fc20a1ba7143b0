"""What a table of systems is made of: figures, published or measured here, on one benchmark in one protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from unseg_d2.published.figures import PublishedRow, published_rows, registry

KINDS = {"bbox": "box", "segm": "mask", "": ""}
NOT_STATED = "not stated"
MEASURED = "measured"
"""Certainty of figures that are not published."""


@dataclass(frozen=True)
class Result:
    """Figures of a system on a benchmark.

    Attributes:
        key: of the published system, or the name of an own one.
        name: as the table writes it.
        network: what gives the results; empty where it is not known.
        benchmark: key of the published benchmark, or the data set of an own run.
        kind: ``bbox``, ``segm`` or empty.
        setting: ``zero-shot``, ``in-domain`` or `NOT_STATED`; empty where the task knows no such difference.
        protocol: key of the published protocol, or of :func:`coco_protocol`.
        figures: in percent, by the metric's name.
        supervision: words of `unseg_d2.supervision`; empty where it is not stated.
        source: citation, or the file that the figures are from.
        certainty: one of `unseg_d2.published.figures.CERTAINTIES`, or `MEASURED`.
        notes: sentences that a reader should know.
    """

    key: str
    name: str
    network: str
    benchmark: str
    kind: str
    setting: str
    protocol: str
    figures: Mapping[str, float]
    supervision: tuple[str, ...]
    source: str
    certainty: str
    notes: tuple[str, ...] = ()

    @property
    def group(self) -> tuple[str, str]:
        """Protocol and setting: only figures that share them can be ranked."""
        return self.protocol, self.setting


def published_results(*, ablations: bool = False) -> list[Result]:
    """Return everything that is published.

    Args:
        ablations: with the studies of a system's parts.
    """
    return [_published(row) for row in published_rows(ablations=ablations)]


def benchmark_title(key: str) -> str:
    """Return how a table writes a benchmark; that of an own run is its file with the folder."""
    known = registry().benchmarks
    return known[key].title if key in known else "/".join(key.split("/")[-2:])


def coco_protocol(max_detections: int = 100, with_classes: bool = False) -> str:
    """Return the key of a protocol: ``coco``, that of the published figures, only with one class and 100 results.

    >>> coco_protocol(), coco_protocol(300), coco_protocol(with_classes=True)
    ('coco', 'coco-300', 'coco-classes-100')
    """
    if max_detections == 100 and not with_classes:
        return "coco"
    return f"coco-{'classes-' if with_classes else ''}{max_detections}"


def protocol_title(key: str) -> str:
    """Return a protocol in words.

    >>> protocol_title("coco-300"), protocol_title("coco-classes-100")
    ('COCOeval, one class, 300 results', 'COCOeval, means over classes, 100 results')
    """
    known = registry().protocols
    if key in known:
        return known[key].title
    classes = "means over classes" if "-classes-" in key else "one class"
    return f"COCOeval, {classes}, {key.rpartition('-')[2]} results"


def benchmark_key(dataset: str) -> str:
    """Return the published benchmark of a data set, or the data set's own name where there is none.

    >>> benchmark_key("cls_agnostic_coco"), benchmark_key("my.json")
    ('coco_val2017', 'my.json')
    """
    return next((key for key, item in registry().benchmarks.items() if item.dataset == dataset), dataset)


def supervised_within(results: Iterable[Result], words: Iterable[str]) -> list[Result]:
    """Return the results whose supervision is stated and all of which is among some words; ``none`` always is."""
    allowed = {*words, "none"}
    return [result for result in results if result.supervision and set(result.supervision) <= allowed]


def _published(row: PublishedRow) -> Result:
    notes = (row.system.note, row.benchmark.note, row.protocol.note, row.note)
    return Result(
        key=row.system.key,
        name=row.name,
        network=row.system.network,
        benchmark=row.benchmark.key,
        kind=row.kind,
        setting=row.setting or (NOT_STATED if row.protocol.task == "detection" else ""),
        protocol=row.protocol.key,
        figures=row.figures,
        supervision=row.system.supervision,
        source=row.citation,
        certainty=row.certainty,
        notes=tuple(note for note in notes if note),
    )
