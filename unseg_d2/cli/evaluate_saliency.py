"""Score soft masks, each with several refinements: saliency, or CorLoc on images with boxes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from fvcore.common.config import CfgNode

from unseg_d2.cli.common import Names, add_config_arguments
from unseg_d2.config import load_cfg
from unseg_d2.data.builtin import SALIENCY_DATASETS
from unseg_d2.data.catalog import load_dataset
from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json
from unseg_d2.saliency.datasets import load_saliency
from unseg_d2.saliency.methods import generator_method, model_method, stored_method
from unseg_d2.saliency.score import REFINEMENTS, Method, MethodScores, Protocol, bootstrap, score_corloc, score_methods
from unseg_d2.saliency.train import load_saliency_model
from unseg_d2.training.table import as_cell, lay_out, write_tables


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of ``evaluate --task saliency`` and ``--task corloc``."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="All figures are in percent. Acc and IoU cut soft masks at one half; maxF is the best F-measure (beta "
        "squared .3) of 255 thresholds, Sm the structure measure, MAE the mean absolute error. CorLoc: the box of the "
        "largest part of the mask meets some object with an IoU of .5.",
    )
    add_config_arguments(parser)
    parser.add_argument("--task", choices=("saliency", "corloc"), default="saliency")
    parser.add_argument(
        "--datasets",
        nargs="+",
        action=Names,
        required=True,
        metavar="NAME",
        help=f"saliency: {', '.join(SALIENCY_DATASETS)}, folder or images::masks; corloc: COCO file or voc07, coco20k",
    )
    parser.add_argument(
        "--weights", nargs="+", action=Names, default=[], metavar="[NAME=]FILE", help="heads of train-saliency"
    )
    parser.add_argument(
        "--masks", nargs="+", action=Names, default=[], metavar="[NAME=]PATH", help="label sets or folders of masks"
    )
    parser.add_argument(
        "--generator", nargs="+", action=Names, default=[], metavar="NAME", help="mask generators on FEATURES"
    )
    parser.add_argument(
        "--refine", nargs="+", action=Names, default=["none"], metavar="NAME", help=", ".join(REFINEMENTS)
    )
    parser.add_argument("--crop", type=int, default=320, help="side of the crop that is scored; 0: whole images")
    parser.add_argument("--published", action="store_true", help="truth and CorLoc as the code of Two Tricks has them")
    parser.add_argument("--gain", action="store_true", help="what each row gains, with intervals over images")
    parser.add_argument("--results", type=Path, help="write figures.json, table.txt and table.md to this folder")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Score every method on every data set and print a table each."""
    args = parser().parse_args(arguments)
    cfg = load_cfg(args.config_file, args.opts)
    methods = _methods(args, cfg)
    figures, tables = {}, []
    for dataset in args.datasets:
        scores = _score(dataset, methods, args, cfg)
        figures[dataset] = {one.name: one.figures() for one in scores}
        found = [(dataset, figure_rows(figures[dataset]))]
        if args.gain and (gains := gain_rows(scores)):
            found.append(("gain, with its 95 % interval over images", gains))
        print(f"\n{lay_out(found)}")
        tables += found
    if args.results:
        write_json(args.results / "figures.json", figures, indent=1)
        write_tables(args.results, tables)


def figure_rows(figures: dict[str, dict[str, float]]) -> list[list[str]]:
    """Return the figures, a row per method, the titles first."""
    columns = list(next(iter(figures.values())))
    return [["", *columns], *([name, *(as_cell(row[key]) for key in columns)] for name, row in figures.items())]


def gain_rows(scores: Sequence[MethodScores]) -> list[list[str]]:
    """Return what each row gains on its method unrefined, or, unrefined itself, on the method before it.

    The titles come first; where there is nothing to compare, there are no rows.
    """
    plain = [one for one in scores if one.refinement == "none"]
    pairs = list(pairwise(plain))
    pairs += [(one, row) for one in plain for row in scores if row.method == one.method and row is not one]
    if not pairs:
        return []
    keys = [key for key in ("Acc", "IoU", "maxF", "CorLoc") if key in scores[0].figures()]
    rows = [["", *keys]]
    for one, other in pairs:
        found = bootstrap(one, other)
        cells = (f"{gain:+.1f} [{low:+.1f}, {high:+.1f}]" for gain, low, high in (found[key] for key in keys))
        rows.append([f"{one.name} -> {other.name}", *cells])
    return rows


def _score(dataset: str, methods: dict[str, Method], args: argparse.Namespace, cfg: CfgNode) -> list[MethodScores]:
    """Return the scores of every method on a data set."""
    if args.task == "corloc":
        return score_corloc(load_dataset(dataset, cfg), methods, args.refine, cfg, published=args.published)
    protocol = Protocol(args.crop, args.crop * 335 // 320, args.published)
    return score_methods(load_saliency(dataset), methods, args.refine, protocol, cfg)


def _methods(args: argparse.Namespace, cfg: CfgNode) -> dict[str, Method]:
    """Return what is to be scored, by name."""
    methods: dict[str, Method] = {}
    for generator in args.generator:
        chosen = cfg.clone()
        chosen.defrost()
        chosen.MASKS.GENERATOR = generator
        methods[generator] = generator_method(chosen)
    for spec in args.masks:
        name, path = _named(spec)
        methods[name] = stored_method(path)
    for spec in args.weights:
        name, path = _named(spec)
        model, recipe = load_saliency_model(path, args.opts)
        methods[f"{name} + GF" if recipe.SALIENCY.GUIDED.ENABLED else name] = model_method(model)
    if not methods:
        raise UnsegError("There is nothing to score: give --weights, --masks or --generator.")
    return methods


def _named(spec: str) -> tuple[str, Path]:
    """Split ``NAME=PATH``; without a name, the file's or its folder's is taken."""
    name, _, path = spec.rpartition("=")
    return name or (Path(path).parent.name if Path(path).stem == "model_final" else Path(path).stem), Path(path)
