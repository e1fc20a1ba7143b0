"""Score soft masks, each with several refinements: saliency, or CorLoc on images with boxes."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unseg_d2.cli import completion
from unseg_d2.cli.common import recipe, settings
from unseg_d2.cli.groups import add_output, add_recipe, add_weights
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import MASKS
from unseg_d2.data.builtin import SALIENCY_DATASETS
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.refinements import REFINEMENTS

if TYPE_CHECKING:
    from fvcore.common.config import CfgNode

    from unseg_d2.saliency.score import Method, MethodScores


def _arguments(task: str, parser: CommandParser) -> None:
    add_recipe(parser, (*MASKS, "SALIENCY.", "MODEL.DEVICE"))
    sets = f"{', '.join(SALIENCY_DATASETS)}, folder or images::masks"
    parser.add_argument_group("data").add_argument(
        "--datasets",
        nargs="+",
        required=True,
        metavar="NAME",
        help=sets if task == "saliency" else "COCO file, or a name such as voc07_trainval or coco20k",
    )
    add_weights(
        parser,
        "heads of train-saliency, FOUND's or UnionSeg's (zoo:found)",
        nargs="+",
        default=[],
        metavar="[NAME=]FILE",
    )
    methods = parser.add_argument_group("other methods")
    methods.add_argument(
        "--labels", nargs="+", default=[], metavar="[NAME=]PATH", help="label sets or folders of masks"
    )
    generator = methods.add_argument(
        "--generator", nargs="+", default=[], metavar="NAME", help="mask generators on FEATURES"
    )
    completion.completed_by(generator, completion.generators)
    scoring = parser.add_argument_group("scoring")
    refine = scoring.add_argument(
        "--refine", nargs="+", default=["none"], metavar="NAME", help=f"any of {', '.join(REFINEMENTS)}"
    )
    completion.completed_by(refine, lambda **_: list(REFINEMENTS))
    if task == "saliency":
        scoring.add_argument(
            "--crop",
            type=int,
            metavar="PX",
            help="side of the crop that is scored; 0: whole images (default: SALIENCY.TEST.CROP of the recipe)",
        )
    scoring.add_argument("--published", action="store_true", help="truth and CorLoc as in the code of Two Tricks")
    scoring.add_argument("--gain", action="store_true", help="gain of each row, with 95 %% intervals over images")
    add_output(parser, "folder of figures.json, table.txt and table.md (default: none)", metavar="FOLDER")
    parser.renamed |= {"--masks": "--labels", "--results": "--output"}


def _execute(task: str, args: argparse.Namespace) -> None:
    """Score every method on every data set and print a table each."""
    cfg = recipe(args, {"SALIENCY.TEST.CROP": getattr(args, "crop", None)})
    from unseg_d2.evaluation.table import lay_out, write_tables
    from unseg_d2.files import check_can_write, write_json

    if args.output:
        check_can_write(args.output / "figures.json")
    sets = {dataset: _load(task, dataset, cfg) for dataset in args.datasets}  # mistakes are found before any work
    methods = _methods(args, cfg)
    metrics, tables = {}, []
    for dataset, content in sets.items():
        scores = _score(task, content, methods, args, cfg)
        metrics[dataset] = {score.name: score.metrics() for score in scores}
        found = [(dataset, metric_rows(metrics[dataset]))]
        if args.gain and (gains := gain_rows(scores)):
            found.append(("gain, with its 95 % interval over images", gains))
        print(f"\n{lay_out(found)}")
        tables += found
    if args.output:
        write_json(args.output / "figures.json", metrics, indent=1)
        write_tables(args.output, tables)


def metric_rows(metrics: dict[str, dict[str, float]]) -> list[list[str]]:
    """Return the metrics, a row per method, the titles first."""
    from unseg_d2.evaluation.table import as_cell

    columns = list(next(iter(metrics.values())))
    return [["", *columns], *([name, *(as_cell(row[key]) for key in columns)] for name, row in metrics.items())]


def gain_rows(scores: Sequence[MethodScores]) -> list[list[str]]:
    """Return the gain of each row over its method unrefined or, if unrefined itself, over the previous method.

    The titles come first; the list is empty where there is nothing to compare.
    """
    from unseg_d2.saliency.score import bootstrap

    plain = [score for score in scores if score.refinement == "none"]
    pairs = list(pairwise(plain))
    pairs += [(base, row) for base in plain for row in scores if row.method == base.method and row is not base]
    if not pairs:
        return []
    keys = [key for key in ("Acc", "IoU", "maxF", "CorLoc") if key in scores[0].metrics()]
    rows = [["", *keys]]
    for base, other in pairs:
        found = bootstrap(base, other)
        cells = (f"{gain:+.1f} [{low:+.1f}, {high:+.1f}]" for gain, low, high in (found[key] for key in keys))
        rows.append([f"{base.name} -> {other.name}", *cells])
    return rows


def _load(task: str, dataset: str, cfg: CfgNode) -> Any:
    """Return a data set as the task wants it."""
    from unseg_d2.data.catalog import load_dataset
    from unseg_d2.data.settings import InputSettings
    from unseg_d2.saliency.datasets import load_saliency

    if task == "corloc":
        return load_dataset(dataset, cfg)
    return load_saliency(dataset, reading=InputSettings.from_config(cfg).reading)


def _score(
    task: str, content: Any, methods: dict[str, Method], args: argparse.Namespace, cfg: CfgNode
) -> list[MethodScores]:
    """Return the scores of every method on a data set."""
    from unseg_d2.saliency.score import Protocol, score_corloc, score_methods

    if task == "corloc":
        return score_corloc(content, methods, args.refine, cfg, published=args.published)
    protocol = Protocol.square(cfg.SALIENCY.TEST.CROP, published=args.published)
    return score_methods(content, methods, args.refine, protocol, cfg)


def _methods(args: argparse.Namespace, cfg: CfgNode) -> dict[str, Method]:
    """Return what is to be scored, by name."""
    from unseg_d2.config import edited
    from unseg_d2.saliency.load import load_saliency_model
    from unseg_d2.saliency.methods import generator_method, model_method, stored_method

    methods: dict[str, Method] = {}
    for generator in args.generator:
        methods[generator] = generator_method(edited(cfg, {"MASKS.GENERATOR": generator}))
    for spec in args.labels:
        name, path = _named(spec)
        methods[name] = stored_method(path)
    for spec in args.weights:
        name, path = _named(spec)
        model, own = load_saliency_model(path, settings(args), recipe=args.config_file, trust=args.trust_checkpoint)
        methods[f"{name} + GF" if own.SALIENCY.GUIDED.ENABLED else name] = model_method(model)
    if not methods:
        raise UnsegError("There is nothing to score: add --weights, --labels or --generator.")
    return methods


def _named(spec: str) -> tuple[str, Path]:
    """Split ``NAME=PATH``; the default name is that of the zoo's entry, the file or its folder."""
    name, _, path = spec.rpartition("=")
    if path.startswith("zoo:"):
        return name or path.removeprefix("zoo:"), Path(path)
    return name or (Path(path).parent.name if Path(path).stem == "model_final" else Path(path).stem), Path(path)


_METRICS = (
    "All metrics are in percent. Acc and IoU cut soft masks at one half; maxF is the best F-measure (beta squared .3) "
    "of 255 thresholds, Sm the structure measure, MAE the mean absolute error."
)
_CORLOC = "CorLoc: the share of images where the box of the mask's largest part has an IoU of .5 with some object."
SALIENCY = Command(
    "Score soft masks of salient objects, each with several refinements.",
    functools.partial(_arguments, "saliency"),
    functools.partial(_execute, "saliency"),
    examples=(
        "unseg-d2 evaluate saliency --datasets ecssd duts_te --weights runs/saliency/model_final.pth "
        "--refine none guided bilateral",
        "unseg-d2 evaluate saliency --datasets ecssd --crop 0 --weights zoo:found zoo:unionseg",
        "unseg-d2 evaluate saliency --datasets ecssd --labels maskcut=masks/labels.json --generator tokencut --gain "
        "--config-file configs/saliency/descriptors.yaml",
    ),
    notes=_METRICS,
)
CORLOC = Command(
    "Score soft masks, each with several refinements, on images with boxes.",
    functools.partial(_arguments, "corloc"),
    functools.partial(_execute, "corloc"),
    examples=(
        "unseg-d2 evaluate corloc --datasets voc07_trainval coco20k --weights runs/saliency/model_final.pth",
        "unseg-d2 evaluate corloc --datasets boxes.json::photos --labels masks/labels.json --output scores/",
    ),
    notes=_CORLOC,
)
