"""From unlabelled images to a detector: pseudo-masks, training, self-training rounds, metrics."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import settings
from unseg_d2.cli.groups import add_evaluators, add_output, add_processes, add_recipe, add_weights
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.errors import UnsegError
from unseg_d2.loop.machines import under_torchrun
from unseg_d2.supervision import sentence


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser)
    group = parser.add_argument_group("data")
    start = group.add_mutually_exclusive_group(required=True)
    start.add_argument(
        "--images", default="", metavar="IMAGES", help="unlabelled images; annotations in them are ignored"
    )
    start.add_argument(
        "--labels", default="", metavar="LABELS", help="label set to start from instead of making pseudo-masks"
    )
    group.add_argument(
        "--gt", default="", metavar="DATASET", help="ground truth to evaluate every round on (default: none)"
    )
    add_evaluators(group)
    parser.add_argument_group("rounds").add_argument(
        "--rounds", type=int, default=1, metavar="N", help="self-training rounds after the first training"
    )
    add_weights(parser, "checkpoint that the first training starts from (default: MODEL.WEIGHTS of the recipe)")
    group = add_output(parser, "folder of the run", required=True, metavar="FOLDER")
    group.add_argument(
        "--restart", action="store_true", help="begin anew; the run in that folder is set aside in before_1"
    )
    add_processes(
        parser,
        gpus="training processes, one per GPU (or on the CPU)",
        workers="processes that make pseudo-masks (default: one per core)",
    )


def _execute(args: argparse.Namespace) -> None:
    """Run all rounds, print the table and where everything is."""
    if not args.config_file:
        raise UnsegError("Name the recipe to train with: --config-file configs/quickstart.yaml, for example.")
    if under_torchrun():
        raise UnsegError("self-train starts its own processes; run it without torchrun, with --num-gpus N.")
    from unseg_d2.api import self_train
    from unseg_d2.detectors.learnt import of_weights
    from unseg_d2.evaluation.table import rounds_table

    result = self_train(
        args.config_file,
        *settings(args, {"MODEL.WEIGHTS": args.weights}),
        output=args.output,
        images=args.images,
        labels=args.labels,
        rounds=args.rounds,
        ground_truth=args.gt,
        num_processes=args.num_gpus,
        num_workers=args.num_workers,
        restart=args.restart,
    )
    if result.rows:
        print(rounds_table(result.rows))
        print(f"plot      {result.plot}")
    if learnt := sentence(of_weights(result.weights)):
        print(f"note      {learnt}")
    print(f"weights   {result.weights}")
    print(f"gallery   {result.gallery}")


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 self-train --config-file configs/cutler/cascade_mask_rcnn_R_50_FPN.yaml --images photos/ "
        "--output runs/photos",
        "unseg-d2 self-train --config-file configs/quickstart.yaml --images synthetic_train --gt synthetic_val "
        "--rounds 2 --output runs/try ENGINE builtin",
    ),
    notes="Killed at any point, the same command resumes where it stopped. A data set is a folder of images, "
    "labels.json, labels.json::image/folder or a built-in name. A folder that holds another run is refused; --restart "
    "sets it aside and begins anew.",
    resumes=True,
)
main = COMMAND.main
