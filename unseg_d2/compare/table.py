"""Choose, group, rank and compare: from results to the rows of one table.

Figures are ranked within a group, which shares protocol and setting, and never across groups: an AP after training on
COCO's images, or from a table with a protocol of its own, does not stand in one order with zero-shot figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from unseg_d2.compare.result import KINDS, MEASURED, NOT_STATED, Result, benchmark_title
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.published.figures import SETTINGS, registry

LOWER_IS_BETTER = frozenset({"MAE"})


@dataclass(frozen=True, order=True)
class Column:
    """A metric on a benchmark.

    Attributes:
        benchmark: see `Result.benchmark`.
        kind: ``bbox``, ``segm`` or empty.
        metric: its name.
    """

    benchmark: str
    kind: str
    metric: str

    @property
    def measure(self) -> str:
        """Kind and metric in words, ``mask AP``."""
        if not self.kind and self.metric.startswith(("AP", "AR")):
            return f"{self.metric}, box or mask"
        return f"{KINDS[self.kind]} {self.metric}".strip()

    @property
    def word(self) -> str:
        """Kind and metric as the command line takes them, ``mask/AP``."""
        return f"{KINDS[self.kind]}/{self.metric}".lstrip("/")

    @property
    def title(self) -> str:
        """Benchmark, kind and metric in words."""
        return f"{benchmark_title(self.benchmark)} {self.measure}"


@dataclass
class Row:
    """A system's figures in one protocol and setting.

    Attributes:
        key, name, network, setting, protocol, supervision: see `Result`.
        figures: in percent, by column; a missing one has no entry.
        certainty: how sure each of them is, by column.
        sources: that the figures are from, in their order.
        notes: that a reader should know.
        rank: from 1 within the group; ``None`` without a figure in the column that sorts.
        deltas: differences from the baseline in the same group, by column.
    """

    key: str
    name: str
    network: str
    setting: str
    protocol: str
    supervision: tuple[str, ...]
    figures: dict[Column, float] = field(default_factory=dict)
    certainty: dict[Column, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rank: int | None = None
    deltas: dict[Column, float] = field(default_factory=dict)

    @property
    def group(self) -> tuple[str, str]:
        """Protocol and setting."""
        return self.protocol, self.setting

    @property
    def measured(self) -> bool:
        """Whether the figures are not published ones."""
        return MEASURED in self.certainty.values()


@dataclass(frozen=True)
class Comparison:
    """A finished table.

    Attributes:
        columns: the metrics, in order.
        rows: group after group, each from the best to the worst.
        sort: the column that ranks.
        baseline: name of the system that the differences are to; empty without one.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    sort: Column
    baseline: str = ""

    def groups(self) -> list[list[Row]]:
        """Return the rows of each group."""
        return _grouped(self.rows)


def compare(
    results: Sequence[Result], columns: Sequence[Column], *, sort: Column | None = None, baseline: str = ""
) -> Comparison:
    """Lay results out as one table.

    Args:
        results: of all systems.
        columns: what the table shows; results with none of them are left out.
        sort: the column that ranks, by default the one with the most figures.
        baseline: key or name of the system that the others are compared with.

    Raises:
        UnsegError: nothing is to be shown, or the baseline is not in the table.
    """
    rows = _merged(results, columns)
    if not rows:
        raise UnsegError("No system has such a figure; leave out a filter, such as --metric or --supervision.")
    sort = sort or max(columns, key=lambda column: sum(column in row.figures for row in rows))
    ranked = [row for group in _grouped(rows) for row in _ranked(group, sort, columns)]
    table = Comparison(tuple(columns), tuple(ranked), sort)
    return _with_deltas(table, baseline) if baseline else table


def _ranked(group: list[Row], sort: Column, columns: Sequence[Column]) -> list[Row]:
    """Return a group from the best to the worst, with ranks; by another column where nobody has the one that sorts."""
    if not any(sort in row.figures for row in group):
        sort = next(column for column in columns if any(column in row.figures for row in group))
    sign = 1 if sort.metric in LOWER_IS_BETTER else -1
    placed = sorted((row for row in group if sort in row.figures), key=lambda row: sign * row.figures[sort])
    for row in placed:
        row.rank = 1 + sum(sign * other.figures[sort] < sign * row.figures[sort] for other in placed)
    return [*placed, *(row for row in group if sort not in row.figures)]


def _grouped(rows: Iterable[Row]) -> list[list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return [found[key] for key in sorted(found, key=_group_order)]


def columns_of(results: Iterable[Result], benchmarks: Sequence[str], metrics: Sequence[str]) -> list[Column]:
    """Return the columns that benchmarks and metrics ask for, where some result has a figure.

    Args:
        results: of all systems.
        benchmarks: keys, in order; empty for all, in the order of the registry.
        metrics: ``mask/AP``, ``box/AP50`` or, of any kind, ``AP``; empty for all.

    Raises:
        UnsegError: a metric has no figure on these benchmarks.
    """
    order = [*benchmarks] or [*registry().benchmarks]
    seen = dict.fromkeys(
        Column(result.benchmark, result.kind, metric) for result in results for metric in result.figures
    )
    own = [column.benchmark for column in seen if column.benchmark not in order and not benchmarks]
    columns = []
    for benchmark in [*order, *dict.fromkeys(own)]:
        there = [column for column in seen if column.benchmark == benchmark]
        if not metrics:
            columns += sorted(there, key=_usual_order)
        for metric in metrics:
            columns += sorted((column for column in there if fits(column, metric)), key=_usual_order)
    for metric in metrics:
        if not any(fits(column, metric) for column in columns):
            known = sorted({column.word for column in seen if column.benchmark in order})
            raise UnsegError(f"No figure is a {metric}; there are {', '.join(known)}.{nearest(metric, known)}")
    return list(dict.fromkeys(columns))


def fits(column: Column, metric: str) -> bool:
    """Whether a column is what a user calls ``mask/AP`` or, of any kind, ``AP``."""
    kind, slash, name = metric.rpartition("/")
    return column.metric == name and (not slash or KINDS[column.kind] == kind or column.kind == kind)


def chosen(results: Iterable[Result], patterns: Sequence[str]) -> list[Result]:
    """Return the results of systems whose key or name contains one of some texts, in any case.

    Raises:
        UnsegError: a text is in no name.
    """
    results = list(results)
    for pattern in patterns:
        if not any(_names(result, pattern) for result in results):
            raise UnsegError(f"No system is called '{pattern}'.{nearest(pattern, {r.name for r in results})}")
    return [result for result in results if not patterns or any(_names(result, pattern) for pattern in patterns)]


def _names(result: Result | Row, pattern: str) -> bool:
    return pattern.lower() in result.key.lower() or pattern.lower() in result.name.lower()


def _merged(results: Iterable[Result], columns: Sequence[Column]) -> list[Row]:
    """Return a row per system and group, and one more for each source that contradicts another one."""
    blocks: dict[tuple[str, str, tuple[str, str], str], Row] = {}
    for result in results:
        found = {Column(result.benchmark, result.kind, metric): value for metric, value in result.figures.items()}
        found = {column: value for column, value in found.items() if column in columns}
        if not found:
            continue
        about = (result.key, result.name, result.network, result.setting, result.protocol, result.supervision)
        block = blocks.setdefault((result.key, result.name, result.group, result.source), Row(*about))
        _add(block, found, dict.fromkeys(found, result.certainty), [result.source], list(result.notes))
    rows: list[Row] = []
    for block in blocks.values():
        row = next((row for row in rows if _same(row, block) and _agree(row, block)), None)
        if row is None:
            rows.append(block)
        elif block.figures.keys() - row.figures.keys():
            _add(row, block.figures, block.certainty, block.sources, block.notes)
    return rows


def _add(
    row: Row, figures: dict[Column, float], certainty: dict[Column, str], sources: list[str], notes: list[str]
) -> None:
    """Put figures into a row where it has none yet."""
    row.figures = {**figures, **row.figures}
    row.certainty = {**certainty, **row.certainty}
    row.sources = list(dict.fromkeys([*row.sources, *sources]))
    row.notes = list(dict.fromkeys([*row.notes, *notes]))


def _same(row: Row, other: Row) -> bool:
    return (row.key, row.name, row.group) == (other.key, other.name, other.group)


def _agree(row: Row, other: Row) -> bool:
    return all(row.figures.get(column, value) == value for column, value in other.figures.items())


def _group_order(group: tuple[str, str]) -> tuple[bool, bool, int, str]:
    """COCO's protocol comes first, zero-shot before in-domain before what is not stated."""
    protocol, setting = group
    settings = [*SETTINGS, NOT_STATED]
    return protocol != "coco", not protocol.startswith("coco"), settings.index(setting), protocol


def _usual_order(column: Column) -> tuple[int, int, str]:
    names = ("AP", "AP50", "AP75", "AR100")
    place = names.index(column.metric) if column.metric in names else len(names)
    return [*KINDS].index(column.kind), place, column.metric


def _with_deltas(table: Comparison, baseline: str) -> Comparison:
    """Fill in the differences from a system, within each group that has it."""
    candidates = _called(table.rows, baseline)
    if not candidates:
        known = {row.name for row in table.rows}
        raise UnsegError(f"The baseline '{baseline}' is not in the table.{nearest(baseline, known)}")
    keys = list(dict.fromkeys(row.key for row in candidates))
    if len(keys) > 1:
        raise UnsegError(f"Several systems are called '{baseline}': {', '.join(keys)}; name one of these.")
    for group in table.groups():
        base: dict[Column, float] = {}
        for row in group:
            if row in candidates:
                base = {**row.figures, **base}
        for row in group:
            row.deltas = {column: value - base[column] for column, value in row.figures.items() if column in base}
            if row in candidates:
                row.deltas = {}
    return Comparison(table.columns, table.rows, table.sort, candidates[0].name)


def _called(rows: Sequence[Row], name: str) -> list[Row]:
    """Return the rows of the key, else those of the name, else those whose key or name contains the text."""
    name = name.lower()
    exact = [row for row in rows if row.key.lower() == name] or [row for row in rows if row.name.lower() == name]
    return exact or [row for row in rows if _names(row, name)]
