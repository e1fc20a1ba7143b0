"""Train a detector, or evaluate one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from unseg_d2.cli.common import recipe, recipe_of_weights, resumes
from unseg_d2.cli.groups import (
    add_evaluators,
    add_processes,
    add_recipe,
    add_training_output,
    add_weights,
    as_name,
    positive,
)
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import TRAINING
from unseg_d2.errors import UnsegError
from unseg_d2.supervision import sentence

if TYPE_CHECKING:
    from fvcore.common.config import CfgNode

    from unseg_d2.detectors.protocol import Engine


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, TRAINING)
    data = parser.add_argument_group("data")
    data.add_argument(
        "--labels",
        type=as_name,
        metavar="LABELS",
        help="label set to train on: name, labels.json or labels.json::images (default: DATASETS.TRAIN of the recipe)",
    )
    data.add_argument(
        "--gt",
        type=as_name,
        metavar="DATASET",
        help="ground truth to evaluate on, in the same form (default: DATASETS.TEST)",
    )
    add_weights(parser, "checkpoint to start from, or to evaluate (default: MODEL.WEIGHTS of the recipe)")
    add_training_output(parser)
    evaluation = parser.add_argument_group("evaluation")
    evaluation.add_argument("--eval-only", action="store_true", help="evaluate --weights on --gt without training")
    add_evaluators(evaluation)
    evaluation.add_argument("--no-segm", action="store_true", help="evaluate boxes only")
    group = add_processes(parser, gpus="training processes, one per GPU (or on the CPU)")
    group.add_argument(
        "--num-machines", type=positive, default=1, metavar="N", help="machines, each with --num-gpus processes"
    )
    group.add_argument(
        "--machine-rank", type=int, default=0, metavar="R", help="rank of this machine, from 0; machine 0 evaluates"
    )
    group.add_argument(
        "--dist-url", default="", metavar="tcp://HOST:PORT", help="where they meet, on machine 0 (default: none)"
    )
    parser.renamed |= {"--train-dataset": "--labels", "--test-dataset": "--gt"}


def _execute(args: argparse.Namespace) -> None:
    """Train and evaluate as the command line says."""
    from unseg_d2.detectors.protocol import select_engine
    from unseg_d2.evaluation.registry import classes_told_apart
    from unseg_d2.loop.machines import Machines
    from unseg_d2.training.evaluate import check_test_sets
    from unseg_d2.training.train import begin_or_resume

    cfg = (recipe_of_weights if args.eval_only else recipe)(args, _flags(args))
    machines = Machines(args.num_machines, args.machine_rank, args.dist_url)
    engine = select_engine(cfg.ENGINE)
    weights = cfg.MODEL.WEIGHTS
    if args.eval_only:
        if not weights:
            raise UnsegError("--eval-only needs the checkpoint to evaluate: add --weights path/to/model.pth")
        if args.restart:
            raise UnsegError("--restart has no effect with --eval-only, which trains nothing; leave one of them out.")
    for given, name in ((args.eval_only, "eval-only"), (args.evaluators, "evaluator"), (args.no_segm, "no-segm")):
        if given and not cfg.DATASETS.TEST:
            raise UnsegError(f"--{name} has no effect without ground truth: name it with --gt, or leave it out.")
    check_test_sets(cfg, classes_told_apart(cfg))  # now, and not only after the training
    if not args.eval_only:
        resumes(args)
        options = {"num_processes": args.num_gpus, "machines": machines, "restart": args.restart}
        weights = str(begin_or_resume(engine, cfg, **options))
        if machines.rank > 0:
            return
    _evaluate(engine, cfg, weights, args.num_gpus)
    if not args.eval_only:
        _draw_curves(Path(cfg.OUTPUT_DIR))


def _draw_curves(folder: Path) -> None:
    """Draw the curves of the training and say where they are."""
    from unseg_d2.loop.events import REPORTS, read_reports
    from unseg_d2.training.report import CURVES, write_curves

    if drawn := write_curves(folder / CURVES, [(folder.name, read_reports(folder / REPORTS))]):
        print(f"curves    {drawn}")


def _flags(args: argparse.Namespace) -> dict[str, object]:
    return {
        "MODEL.WEIGHTS": args.weights,
        "OUTPUT_DIR": args.output,
        "TEST.NO_SEGM": args.no_segm,
        "DATASETS.TRAIN": None if args.labels is None else (args.labels,),
        "DATASETS.TEST": None if args.gt is None else (args.gt,),
    }


def _evaluate(engine: Engine, cfg: CfgNode, weights: str, num_processes: int) -> None:
    """Evaluate on every test set, print the table and check expectations."""
    from unseg_d2.detectors.learnt import of_weights
    from unseg_d2.evaluation.table import as_text, class_rows, rounds_table
    from unseg_d2.files import write_json
    from unseg_d2.training.evaluate import check_expected, evaluate_detector

    rows = []
    for index, dataset in enumerate(cfg.DATASETS.TEST):
        output = Path(cfg.OUTPUT_DIR) / "evaluation" / f"{index}_{Path(weights).stem}"
        scores = evaluate_detector(
            engine, cfg, weights=weights, dataset=dataset, output=output, num_processes=num_processes
        )
        about = {"dataset": dataset, "weights": weights, **scores.to_json()["figures"]}
        write_json(output / "figures.json", about, indent=1)
        rows.append((Path(dataset).stem, scores.metrics))
        if class_rows(scores.metrics):
            print(f"{as_text(class_rows(scores.metrics))}\n")
    if rows:
        print(rounds_table(rows))
        if learnt := sentence(of_weights(weights, trust=cfg.MODEL.TRUST_CHECKPOINT)):
            print(f"note      {learnt}")
        check_expected(rows[-1][1], cfg.TEST.EXPECTED_RESULTS)


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 train-net --config-file configs/cutler/cascade_mask_rcnn_R_50_FPN.yaml --labels masks/labels.json "
        "--output runs/photos",
        "unseg-d2 train-net --eval-only --weights zoo:cutler_cascade_final --gt coco_val2017 "
        "TEST.DETECTIONS_PER_IMAGE 100",
    ),
    notes="Interrupted at any point, the same command resumes from the last checkpoint. A folder that holds a training "
    "of something else is refused; --restart sets it aside and begins anew.",
    resumes=True,
)
main = COMMAND.main
