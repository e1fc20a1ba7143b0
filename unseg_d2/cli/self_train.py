"""From unlabelled images to a detector: pseudo-masks, training, self-training rounds, figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from unseg_d2.cli.common import add_config_arguments, positive
from unseg_d2.errors import UnsegError
from unseg_d2.loop.machines import under_torchrun
from unseg_d2.training.rounds import Plan, self_train
from unseg_d2.training.table import rounds_table


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Killed at any point, the same command goes on where it stopped. "
        "A data set is a folder of images, labels.json, labels.json::image/folder or a built-in name.",
    )
    add_config_arguments(parser)
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--images", default="", help="unlabelled images; annotations in them are ignored")
    start.add_argument("--labels", default="", help="label set to start from instead of making pseudo-masks")
    parser.add_argument("--rounds", type=int, default=1, help="self-training rounds after the first training")
    parser.add_argument("--gt", default="", help="data set with annotations to evaluate every round on")
    parser.add_argument("--num-gpus", type=positive, default=1, help="training processes, one per GPU (or on the CPU)")
    parser.add_argument("--num-workers", type=int, help="processes that make pseudo-masks (default: one per core)")
    parser.add_argument("--output", required=True, type=Path, help="folder of the run")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all rounds, print the table and say where everything is."""
    args = parser().parse_args(arguments)
    if not args.config_file:
        raise UnsegError("Say which recipe to train with: --config-file configs/quickstart.yaml, for example.")
    if under_torchrun():
        raise UnsegError("self-train starts its own processes; start it without torchrun, with --num-gpus N.")
    plan = Plan(
        config_file=args.config_file,
        opts=tuple(args.opts),
        output=args.output,
        rounds=args.rounds,
        images=args.images,
        labels=args.labels,
        ground_truth=args.gt,
        num_processes=args.num_gpus,
        num_workers=args.num_workers,
    )
    result = self_train(plan)
    if result.rows:
        print(rounds_table(result.rows))
        print(f"plot      {result.plot}")
    print(f"weights   {result.weights}")
    print(f"gallery   {result.gallery}")
