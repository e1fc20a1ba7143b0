"""From unlabelled images to a detector: pseudo-masks, training, self-training rounds, metrics."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import settings
from unseg_d2.cli.groups import IMAGES, add_evaluators, add_output, add_processes, add_recipe, add_weights, where
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import MASKS, SPREAD, TRAINING
from unseg_d2.errors import UnsegError
from unseg_d2.loop.machines import under_torchrun
from unseg_d2.supervision import sentence


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, (*TRAINING, *MASKS, *SPREAD, "ROUNDS."))
    group = parser.add_argument_group("data")
    start = group.add_mutually_exclusive_group(required=True)
    start.add_argument(
        "--images", default="", metavar="IMAGES", help=f"unlabelled images: {IMAGES}; annotations in them are ignored"
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
    plan = parser.add_argument_group("without a recipe")
    plan.add_argument(
        "--budget",
        default="",
        metavar="TIME",
        help="time for everything, such as 20m, 2h or 1d; the schedule follows from it (default: 2h)",
    )
    plan.add_argument(
        "--features",
        default="",
        metavar="KIND",
        help="dino, offline (of the package index, trained with ImageNet's labels) or descriptors (nothing learned, "
        "for trying things out) (default: the first of the first two that can be had)",
    )
    plan.add_argument("--from-scratch", action="store_true", help="begin the detector with random weights")
    add_weights(parser, "checkpoint that the first training starts from (default: MODEL.WEIGHTS of the recipe)")
    group = add_output(parser, "folder of the run", required=True, metavar="FOLDER")
    group.add_argument(
        "--restart", action="store_true", help="begin anew; the run in that folder is set aside in before_1"
    )
    add_processes(
        parser,
        gpus="training processes, one per GPU, or on the CPU (default: one with a recipe, all GPUs without)",
        workers="processes that make pseudo-masks (default: one per core)",
        engine="make masks and predict",
    )
    parser.set_defaults(num_gpus=None)


def _execute(args: argparse.Namespace) -> None:
    """Run all rounds, print the table and where everything is."""
    if args.from_scratch and args.weights:
        raise UnsegError("--from-scratch and --weights contradict each other; leave one of them out.")
    if under_torchrun():
        raise UnsegError("self-train starts its own processes; run it without torchrun, with --num-gpus N.")
    from unseg_d2.api import self_train
    from unseg_d2.detectors.learnt import of_weights
    from unseg_d2.evaluation.table import as_text, rounds_table
    from unseg_d2.training.growth import growth_table

    result = self_train(
        args.config_file or "",
        *settings(args, {"MODEL.WEIGHTS": "" if args.from_scratch else args.weights}),
        output=args.output,
        images=args.images,
        labels=args.labels,
        rounds=args.rounds,
        ground_truth=args.gt,
        num_processes=args.num_gpus,
        **where(args),
        restart=args.restart,
        budget=args.budget,
        features=args.features,
    )
    if result.growth:
        print(f"{as_text(growth_table(result.growth))}\n")
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
        "unseg-d2 self-train --images photos/ --output runs/photos --budget 2h",
        "unseg-d2 self-train --config-file configs/cutler/cascade_mask_rcnn_R_50_FPN.yaml --images photos/ "
        "--output runs/photos",
        "unseg-d2 self-train --config-file configs/quickstart.yaml --images synthetic_train --gt synthetic_val "
        "--rounds 2 --output runs/try ENGINE builtin",
    ),
    notes="Without --config-file, features, detector and schedule follow from the images, the machine and --budget. "
    "Killed at any point, the same command resumes where it stopped. A data set is a folder of images, "
    "labels.json, labels.json::image/folder or a built-in name. A folder that holds another run is "
    "refused; --restart sets it aside and begins anew.",
    resumes=True,
)
main = COMMAND.main
