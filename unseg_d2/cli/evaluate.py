"""Score a detector, or masks from elsewhere, on benchmarks, beside the published figures."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from unseg_d2.cli.common import Names, add_config_arguments, positive
from unseg_d2.config import load_cfg
from unseg_d2.data.builtin import ALIASES
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.backends import BACKENDS, select_backend
from unseg_d2.training.benchmark_table import benchmark_rows, protocol_lines
from unseg_d2.training.benchmarks import (
    BenchmarkScores,
    check_datasets,
    predict_dataset,
    save_scores,
    score_predictions,
    setting_of,
)
from unseg_d2.training.table import lay_out, write_tables

TASKS = {
    "detection": "",
    "saliency": "unseg_d2.cli.evaluate_saliency",
    "corloc": "unseg_d2.cli.evaluate_saliency",
    "semantic": "unseg_d2.cli.evaluate_semantic",
}
"""Task to the module that has its own arguments; empty is this one."""


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="AP counts the best 100 results of an image, also on LVIS: the published figures say 300 there, but "
        "were counted with 100. Images without ground truth stay: what is found on them is false. Crowd regions are "
        "neither missed nor false. Writes figures.json, table.txt and table.md to the folder of --results.",
    )
    add_config_arguments(parser)
    parser.add_argument(
        "--task", choices=TASKS, default="detection", help="each has arguments of its own: --task saliency --help"
    )
    parser.add_argument(
        "--datasets",
        nargs="+",
        action=Names,
        required=True,
        metavar="NAME",
        help=f"labels.json, labels.json::images or a name: {', '.join(ALIASES)}",
    )
    parser.add_argument(
        "--predictions",
        nargs="+",
        action=Names,
        type=Path,
        metavar="FILE",
        help="COCO results or label sets, one per data set",
    )
    parser.add_argument(
        "--results", type=Path, help="folder of predictions and figures (default: OUTPUT_DIR/benchmarks)"
    )
    parser.add_argument("--name", help="name of the method in the table (default: that of weights or predictions)")
    parser.add_argument("--setting", choices=("zero-shot", "in-domain"), help="default: follows from DATASETS.TRAIN")
    parser.add_argument("--backend", default="auto", help=f"auto (the fastest installed) or {', '.join(BACKENDS)}")
    parser.add_argument("--max-detections", type=int, default=100, help="results per image: 100, 300, 1000")
    parser.add_argument("--num-gpus", type=positive, default=1, help="processes that predict")
    parser.add_argument("--no-segm", action="store_true", help="score boxes only")
    parser.add_argument("--no-published", action="store_true", help="leave the published figures out")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict where there are no predictions, score, and print and write the table."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    module = TASKS.get(_task(words), "")
    if module:
        importlib.import_module(module).main(words)
        return
    args = parser().parse_args(words)
    cfg = _cfg(args)
    backend = select_backend(args.backend)
    check_datasets(args.datasets, cfg)
    results = args.results or Path(cfg.OUTPUT_DIR) / "benchmarks"
    paths = args.predictions or _predict(args, cfg, results)
    scores = []
    for dataset, path in zip(args.datasets, paths, strict=True):
        setting = args.setting or ("not stated" if args.predictions else setting_of(dataset, cfg.DATASETS.TRAIN))
        options = {"setting": setting, "backend": backend, "max_detections": args.max_detections}
        scores.append(score_predictions(path, dataset, cfg, **options))
    _report(
        args, scores, results, backend, args.name or Path(cfg.MODEL.WEIGHTS if not args.predictions else paths[0]).stem
    )


def _task(words: Sequence[str]) -> str:
    """Return what ``--task`` says, whatever the other arguments."""
    task = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    task.add_argument("--task", default="detection")
    return task.parse_known_args(words)[0].task


def _cfg(args: argparse.Namespace) -> CfgNode:
    """Return the recipe with the flags filled in; a network has to deliver as many results as count."""
    if args.predictions and len(args.predictions) != len(args.datasets):
        raise UnsegError(
            f"There are {len(args.predictions)} --predictions for {len(args.datasets)} --datasets; one each is needed."
        )
    cfg = load_cfg(args.config_file, args.opts)
    if not args.predictions and not cfg.MODEL.WEIGHTS:
        raise UnsegError("There is nothing to score: append MODEL.WEIGHTS path/to/model.pth, or give --predictions.")
    cfg.defrost()
    cfg.TEST.NO_SEGM |= args.no_segm
    cfg.TEST.DETECTIONS_PER_IMAGE = max(cfg.TEST.DETECTIONS_PER_IMAGE, args.max_detections)
    cfg.freeze()
    return cfg


def _predict(args: argparse.Namespace, cfg: CfgNode, results: Path) -> list[Path]:
    engine = select_engine(cfg.ENGINE)
    options = {"weights": cfg.MODEL.WEIGHTS, "results": results, "num_processes": args.num_gpus}
    return [predict_dataset(engine, cfg, dataset, **options) for dataset in args.datasets]


def _report(args: argparse.Namespace, scores: list[BenchmarkScores], results: Path, backend: str, name: str) -> None:
    """Print the table and write it in three forms."""
    tables = [("", benchmark_rows(scores, name, published=not args.no_published))]
    protocol = protocol_lines(scores, backend, args.max_detections)
    print(lay_out(tables, protocol))
    write_tables(results, tables, protocol)
    about = {"name": name, "backend": backend, "max_detections": args.max_detections}
    save_scores(scores, results / "figures.json", **about)
