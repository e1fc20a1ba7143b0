"""Score a detector, or masks from any source, on benchmarks, beside the published results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unseg_d2.cli.common import recipe, recipe_of_weights
from unseg_d2.cli.groups import add_evaluators, add_output, add_processes, add_recipe, add_weights, as_path
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import DETECTOR, SCORES, SPREAD
from unseg_d2.data.builtin import ALIASES
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.backends import BACKENDS, select_backend
from unseg_d2.supervision import joined, sentence, to_info

if TYPE_CHECKING:
    from fvcore.common.config import CfgNode

    from unseg_d2.training.benchmarks import Benchmark


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, (*DETECTOR, *SCORES, *SPREAD, "OUTPUT_DIR", "DATASETS.TRAIN"))
    data = parser.add_argument_group("data")
    data.add_argument(
        "--datasets",
        nargs="+",
        required=True,
        metavar="NAME",
        help=f"labels.json, labels.json::images or a name: {', '.join(ALIASES)}",
    )
    data.add_argument(
        "--labels",
        nargs="+",
        type=as_path,
        metavar="FILE",
        help="COCO results or label sets to score, one per data set (default: what the detector predicts)",
    )
    add_weights(parser, "checkpoint of the detector (default: MODEL.WEIGHTS of the recipe)")
    add_output(
        parser,
        "folder of predictions, figures.json, table.txt and table.md (default: OUTPUT_DIR/benchmarks)",
        metavar="FOLDER",
    )
    table = parser.add_argument_group("table")
    table.add_argument(
        "--name", help="name of the method in the table (default: that of the file of weights or of results)"
    )
    table.add_argument(
        "--setting", choices=("zero-shot", "in-domain"), help="setting in the table (default: from DATASETS.TRAIN)"
    )
    table.add_argument("--no-published", action="store_true", help="leave out the published results")
    scoring = parser.add_argument_group("scoring")
    add_evaluators(scoring, "TEST.EVALUATORS of the recipe, and best_iou")
    scoring.add_argument(
        "--backend",
        metavar="NAME",
        help=f"auto (the fastest installed) or {', '.join(BACKENDS)} (default: TEST.CLASS_AGNOSTIC.BACKEND)",
    )
    scoring.add_argument(
        "--max-detections",
        type=int,
        metavar="N",
        help="results per image: 100, 300, 1000 (default: TEST.CLASS_AGNOSTIC.MAX_DETECTIONS)",
    )
    scoring.add_argument("--no-segm", action="store_true", help="score boxes only")
    add_processes(parser, gpus="processes that predict", engine="predict")
    parser.renamed |= {"--predictions": "--labels", "--results": "--output"}


def _execute(args: argparse.Namespace) -> None:
    """Predict where there are no predictions, score, and print and write the table."""
    cfg = _cfg(args)
    from unseg_d2.evaluation.registry import build_evaluators, detector_evaluators
    from unseg_d2.files import check_can_read, check_can_write
    from unseg_d2.training.benchmarks import check_datasets, score_predictions, setting_of

    (build_evaluators if args.labels else detector_evaluators)(cfg)  # mistakes are found before anything is predicted
    check_datasets(args.datasets, cfg)
    check_can_read(*(args.labels or ()))
    output = args.output or Path(cfg.OUTPUT_DIR) / "benchmarks"
    check_can_write(output / "figures.json")
    paths = args.labels or _predict(args, cfg, output)
    scores = []
    for dataset, path in zip(args.datasets, paths, strict=True):
        setting = args.setting or ("not stated" if args.labels else setting_of(dataset, cfg.DATASETS.TRAIN))
        scores.append(score_predictions(path, dataset, cfg, setting=setting))
    name = args.name or Path(paths[0] if args.labels else cfg.MODEL.WEIGHTS).stem
    about = _about(name, cfg) | {"with_classes": any(one.scores.with_classes for one in scores)}
    _report(args, scores, output, about | {"supervision": to_info(_learnt(args, cfg))})


def _learnt(args: argparse.Namespace, cfg: CfgNode) -> tuple[str, ...]:
    """Return what the results have learnt from, where their files or the checkpoint say so."""
    from unseg_d2.detectors.learnt import of_weights
    from unseg_d2.training.score_masks import learnt_of

    if args.labels:
        known = [learnt_of(path) for path in args.labels]
        return joined(known) if any(known) else ()
    return of_weights(cfg.MODEL.WEIGHTS, trust=cfg.MODEL.TRUST_CHECKPOINT)


def _about(name: str, cfg: CfgNode) -> dict[str, Any]:
    """Return what figures.json says of the recipe."""
    about: dict[str, Any] = {"name": name, "evaluators": list(cfg.TEST.EVALUATORS)}
    if "class_agnostic" in about["evaluators"]:
        about["backend"] = select_backend(cfg.TEST.CLASS_AGNOSTIC.BACKEND)
        about["max_detections"] = cfg.TEST.CLASS_AGNOSTIC.MAX_DETECTIONS
    return about


def _cfg(args: argparse.Namespace) -> CfgNode:
    """Return the recipe with the flags filled in; the network returns at least as many results as are counted."""
    from unseg_d2.config import edited

    if args.labels and len(args.labels) != len(args.datasets):
        raise UnsegError(
            f"There are {len(args.labels)} --labels for {len(args.datasets)} --datasets; one each is needed."
        )
    flags = {
        "MODEL.WEIGHTS": args.weights,
        "TEST.NO_SEGM": args.no_segm,
        "TEST.CLASS_AGNOSTIC.BACKEND": args.backend,
        "TEST.CLASS_AGNOSTIC.MAX_DETECTIONS": args.max_detections,
    }
    cfg = recipe(args, flags) if args.labels else recipe_of_weights(args, flags)
    if not args.labels and not cfg.MODEL.WEIGHTS:
        raise UnsegError("There is nothing to score: add --weights path/to/model.pth, or --labels.")
    evaluators = [name.lower() for name in cfg.TEST.EVALUATORS]
    if not args.evaluators and "best_iou" not in evaluators:
        evaluators.append("best_iou")
    most = most_results(cfg.TEST.DETECTIONS_PER_IMAGE, cfg, evaluators)
    return edited(cfg, {"TEST.DETECTIONS_PER_IMAGE": most, "TEST.EVALUATORS": tuple(evaluators)})


def most_results(stated: int, cfg: CfgNode, evaluators: Sequence[str]) -> int:
    """Return how many results of an image are predicted: as many as are counted, or as stated if more; -1: all."""
    counted = [cfg.TEST.CLASS_AGNOSTIC.MAX_DETECTIONS, *([cfg.TEST.LEVELS.MAX_DETECTIONS] * ("levels" in evaluators))]
    return stated if stated < 0 else max(stated, *counted)


def _predict(args: argparse.Namespace, cfg: CfgNode, output: Path) -> list[Path]:
    from unseg_d2.detectors.protocol import select_engine
    from unseg_d2.training.benchmarks import predict_dataset

    if args.run_on == "ray" and args.num_gpus != 1:
        raise UnsegError("--num-gpus counts processes of this machine; a Ray cluster decides itself: leave it out.")
    engine = select_engine(cfg.ENGINE)
    options = {"weights": cfg.MODEL.WEIGHTS, "results": output, "num_processes": args.num_gpus, "run_on": args.run_on}
    return [predict_dataset(engine, cfg, dataset, **options) for dataset in args.datasets]


def _report(args: argparse.Namespace, scores: list[Benchmark], output: Path, about: dict[str, Any]) -> None:
    """Print the table and write it in three forms."""
    from unseg_d2.evaluation.table import class_rows, lay_out, write_tables
    from unseg_d2.training.benchmark_table import benchmark_rows, protocol_lines
    from unseg_d2.training.benchmarks import save_benchmarks

    of_classes = [(f"AP of each class, {item.dataset}", class_rows(item.scores.metrics)) for item in scores]
    of_classes = [(heading, rows) for heading, rows in of_classes if rows]
    published = not args.no_published and not of_classes  # the published results are class-agnostic
    learnt = tuple(about["supervision"])
    tables = [("", benchmark_rows(scores, about["name"], learnt, published=published)), *of_classes]
    protocol = [*protocol_lines(scores), *filter(None, [sentence(learnt)])]
    print(lay_out(tables, protocol))
    write_tables(output, tables, protocol)
    save_benchmarks(scores, output / "figures.json", **about)


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 evaluate detection --datasets coco_val2017 voc07 --weights runs/photos/model_final.pth",
        "unseg-d2 evaluate detection --datasets coco_val2017 my.json::my/images --labels a.json b.json",
        "unseg-d2 evaluate detection --datasets voc07 --labels masks/labels.json --evaluator corloc",
    ),
    notes="AP counts the best 100 results of an image, also on LVIS: the published results say 300 there, but were "
    "computed with 100. Images without ground truth count: results on them are false. A crowd region is no miss if "
    "nothing is found on it, and a result on it is not false.",
    resumes=True,
)
main = COMMAND.main
