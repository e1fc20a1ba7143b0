"""One table over systems and benchmarks: published figures, files of results and own runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from unseg_d2.cli import completion
from unseg_d2.cli.groups import add_output
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.evaluation.backends import BACKENDS
from unseg_d2.published.figures import registry
from unseg_d2.supervision import MEANINGS

if TYPE_CHECKING:
    from unseg_d2.compare.own_runs import About
    from unseg_d2.compare.result import Result
    from unseg_d2.compare.table import Column

FORMATS = ("text", "markdown", "csv", "json")
DEFAULT_METRIC = "mask/AP"
USUAL_METRICS = ("AP", "AP50", "AR100")


def _arguments(parser: CommandParser) -> None:
    _add_filters(parser)
    _add_own(parser)
    table = parser.add_argument_group("table")
    table.add_argument(
        "--sort", metavar="METRIC", help="metric that ranks, on the first benchmark (default: that of most figures)"
    )
    base = table.add_argument(
        "--baseline", metavar="SYSTEM", help="show what figures gain over this system (default: none)"
    )
    completion.completed_by(base, _systems)
    table.add_argument("--format", choices=FORMATS, help="form of the table (default: that of --output, else text)")
    add_output(parser, "file to write the table to: .txt, .md, .csv or .json (default: print it)", metavar="FILE")


def _add_own(parser: CommandParser) -> None:
    own = parser.add_argument_group("own figures")
    own.add_argument(
        "--runs",
        nargs="+",
        default=[],
        metavar="[NAME=]PATH",
        help="folders of evaluate or self-train, or the figures.json of evaluate or score-masks",
    )
    own.add_argument(
        "--labels",
        nargs="+",
        default=[],
        metavar="[NAME=]FILE",
        help="COCO results or label sets of any system, to be scored against --gt",
    )
    truth = own.add_argument(
        "--gt",
        nargs="+",
        default=[],
        metavar="DATASET",
        help="ground truth of --labels, one for all or one for each: COCO file or built-in name",
    )
    completion.completed_by(truth, _datasets)
    own.add_argument(
        "--setting",
        choices=("zero-shot", "in-domain"),
        help="setting of own figures that state none (default: not stated)",
    )
    own.add_argument(
        "--own-supervision",
        nargs="+",
        default=[],
        choices=tuple(MEANINGS),
        metavar="WORD",
        help=f"what own systems have learnt from: {', '.join(MEANINGS)} (default: not stated)",
    )
    own.add_argument("--no-published", action="store_true", help="leave out the published figures")
    own.add_argument(
        "--backend", default="auto", metavar="NAME", help=f"auto (the fastest installed) or {', '.join(BACKENDS)}"
    )
    own.add_argument("--max-detections", type=int, default=100, metavar="N", help="results per image that count")


def _add_filters(parser: CommandParser) -> None:
    group = parser.add_argument_group("what to show")
    names = group.add_argument(
        "--benchmark", nargs="+", default=[], metavar="NAME", help="benchmarks (default: all that have the metric)"
    )
    completion.completed_by(names, lambda prefix, **_: [key for key in registry().benchmarks if key.startswith(prefix)])
    group.add_argument(
        "--metric",
        nargs="+",
        default=[],
        metavar="METRIC",
        help=f"box/AP50, mask/AP, or AP for both (default: {DEFAULT_METRIC}; of one benchmark AP, AP50, AR100)",
    )
    systems = group.add_argument(
        "--systems", nargs="+", default=[], metavar="TEXT", help="systems whose names contain a text (default: all)"
    )
    completion.completed_by(systems, _systems)
    group.add_argument(
        "--supervision",
        nargs="+",
        default=[],
        choices=tuple(MEANINGS),
        metavar="WORD",
        help=f"systems that have learnt from nothing else: {', '.join(MEANINGS)} (default: all)",
    )
    group.add_argument("--ablations", action="store_true", help="show published studies of a system's parts too")


def _execute(args: argparse.Namespace) -> None:
    """Collect the figures, print or write the table, and report the files that could not be used."""
    form = _form(args)
    _check(args)
    own, problems = _own(args)
    try:
        _write(_table(args, own, form), args.output)
    except UnsegError as error:
        problems.append(str(error))
    if problems:
        raise UnsegError(" ".join(problems))  # after the table of everything else


def _table(args: argparse.Namespace, own: list[Result], form: str) -> str:
    """Return the finished table."""
    from unseg_d2.compare.layout import FORMATS as WRITERS
    from unseg_d2.compare.result import published_results, supervised_within
    from unseg_d2.compare.table import chosen, compare

    results = [*own, *([] if args.no_published else published_results(ablations=args.ablations))]
    if not results:
        raise UnsegError("There is nothing to compare: add --runs or --labels.")
    results = chosen(results, args.systems)
    if args.supervision:
        results = supervised_within(results, args.supervision)
    columns = _columns(args, results, own)
    return WRITERS[form](compare(results, columns, sort=_sort(args, columns), baseline=args.baseline or ""))


def _check(args: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    scoring = {"--gt": args.gt, "--max-detections": args.max_detections != 100, "--backend": args.backend != "auto"}
    about = {"--setting": args.setting, "--own-supervision": args.own_supervision}
    for option, given in scoring.items():
        if given and not args.labels:
            raise UnsegError(f"{option} is for files of results, of which there are none: add --labels.")
    for option, given in about.items():
        if given and not args.labels and not args.runs:
            raise UnsegError(f"{option} describes own figures, of which there are none: add --runs or --labels.")


def _own(args: argparse.Namespace) -> tuple[list[Result], list[str]]:
    """Return own figures, and a sentence for each file that cannot be used."""
    found: list[Result] = []
    problems: list[str] = []
    if not args.runs and not args.labels:
        return found, problems
    from unseg_d2.compare.own_runs import own_results

    for spec in args.runs:
        path, about = _named(spec, args)
        try:
            found += own_results(path, about)
        except UnsegError as error:
            problems.append(str(error))
    if args.labels:
        found += _scored(args, problems)
    return found, problems


def _scored(args: argparse.Namespace, problems: list[str]) -> list[Result]:
    """Return the figures of files of results, and add a sentence for each that cannot be used."""
    if not args.gt:
        raise UnsegError("--labels are scored against a ground truth: add --gt, a COCO file or a built-in name.")
    if len(args.gt) not in (1, len(args.labels)):
        raise UnsegError(f"There are {len(args.gt)} --gt for {len(args.labels)} --labels; one for all or one each.")
    from unseg_d2.compare.scored_files import scored_results
    from unseg_d2.config import load_cfg
    from unseg_d2.data.catalog import find_annotations
    from unseg_d2.data.coco import open_coco
    from unseg_d2.evaluation.backends import select_backend

    scoring = {"BACKEND": select_backend(args.backend), "MAX_DETECTIONS": args.max_detections}
    cfg = load_cfg(None, [word for key, value in scoring.items() for word in (f"TEST.CLASS_AGNOSTIC.{key}", value)])
    truths = {dataset: open_coco(find_annotations(dataset, cfg)) for dataset in dict.fromkeys(args.gt)}
    found: list[Result] = []
    for spec, dataset in zip(args.labels, args.gt if len(args.gt) > 1 else args.gt * len(args.labels), strict=True):
        path, about = _named(spec, args)
        try:
            found += scored_results(path, truths[dataset], dataset, about, cfg)
        except UnsegError as error:
            problems.append(str(error))
    return found


def _named(spec: str, args: argparse.Namespace) -> tuple[Path, About]:
    """Split ``[NAME=]PATH``, and say what the command line says of it."""
    from unseg_d2.compare.own_runs import About
    from unseg_d2.compare.result import NOT_STATED
    from unseg_d2.supervision import checked

    name, _, path = spec.rpartition("=")
    learnt = checked(args.own_supervision) if args.own_supervision else ()
    return Path(path), About(name, args.setting or NOT_STATED, learnt)


def _columns(args: argparse.Namespace, results: list[Result], own: list[Result]) -> list[Column]:
    """Return the columns that the options ask for."""
    from unseg_d2.compare.result import benchmark_key
    from unseg_d2.compare.table import columns_of
    from unseg_d2.data.builtin import ALIASES

    known = [*registry().benchmarks, *(result.benchmark for result in own)]
    benchmarks = []
    for name in args.benchmark:
        key = name if name in known else benchmark_key(ALIASES.get(name, name))
        if key not in known:
            raise UnsegError(
                f"There is no benchmark '{name}'.{nearest(name, known) or f' There are: {_listed(known)}'}"
            )
        benchmarks.append(key)
    benchmarks = benchmarks or list(dict.fromkeys(result.benchmark for result in own))
    if args.metric or len(benchmarks) != 1:
        return columns_of(results, benchmarks, args.metric or [DEFAULT_METRIC])
    columns = columns_of(results, benchmarks, [])
    return [column for column in columns if column.metric in USUAL_METRICS] or columns


def _sort(args: argparse.Namespace, columns: list[Column]) -> Column | None:
    from unseg_d2.compare.table import fits

    if not args.sort:
        return None
    column = next((column for column in columns if fits(column, args.sort)), None)
    if column is None:
        known = _listed([column.word for column in columns])
        raise UnsegError(f"The table has no metric {args.sort} to sort by; it has {known}")
    return column


def _form(args: argparse.Namespace) -> str:
    """Return the form of the table; a file's suffix decides unless --format does."""
    from unseg_d2.compare.layout import SUFFIXES

    if args.format:
        return str(args.format)
    if args.output is None:
        return "text"
    if args.output.suffix not in SUFFIXES:
        raise UnsegError(f"--output is {args.output}, but its form is not clear: add --format {', '.join(FORMATS)}.")
    return SUFFIXES[args.output.suffix]


def _write(text: str, path: Path | None) -> None:
    if path is None:
        print(text)
        return
    from unseg_d2.files import atomic_write

    with atomic_write(path) as file:
        file.write(f"{text}\n".encode())


def _listed(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names)) + "."


def _systems(prefix: str, **_: object) -> list[str]:
    return [key for key in registry().systems if key.startswith(prefix)]


def _datasets(prefix: str, **_: object) -> list[str]:
    from unseg_d2.data.builtin import ALIASES

    return [name for name in ALIASES if name.startswith(prefix)]


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 compare --benchmark coco_val2017 --supervision none --baseline cutler",
        "unseg-d2 compare --benchmark coco_val2017 voc07 --metric box/AP50 --runs ours=runs/photos/benchmarks",
        "unseg-d2 compare --labels a.json theirs=b.json --gt instances.json --no-published --output table.csv",
        "unseg-d2 compare --labels ours=coco.json ours=voc.json --gt coco_val2017 voc07 --metric box/AP50",
    ),
    notes="Figures are ranked within one setting and protocol, and never across: a recall of 1000 masks or an AP after "
    "training on COCO has a ranking of its own. A file that cannot be used is an error after the table.",
)
main = COMMAND.main
