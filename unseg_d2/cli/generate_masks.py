"""Make pseudo-masks for images: a label set in COCO format."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import recipe
from unseg_d2.cli.groups import add_images, add_output, add_processes, add_recipe, add_weights, not_negative, positive
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import MASKS


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, MASKS)
    add_images(parser, required=True)
    add_weights(parser, "", weights=False)
    add_output(parser, "folder of the label set", required=True, metavar="FOLDER")
    group = add_processes(parser, workers="processes (default: one per GPU, or one per core)")
    group.add_argument(
        "--shard-index", type=not_negative, default=0, metavar="K", help="which share of the images, counted from 0"
    )
    group.add_argument("--num-shards", type=positive, default=1, metavar="N", help="number of shares")


def _execute(args: argparse.Namespace) -> None:
    """Make the label set, or this command's share of it, and print where it is."""
    cfg = recipe(args)
    from unseg_d2.pseudo.generate import generate_label_set
    from unseg_d2.pseudo.label_set import summarise

    generate_label_set(
        cfg,
        args.images,
        args.output,
        num_workers=args.num_workers,
        shard_index=args.shard_index,
        num_shards=args.num_shards,
    )
    print(summarise(args.output))


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 generate-masks --config-file configs/cutler/cascade_mask_rcnn_R_50_FPN.yaml --images photos/ "
        "--output masks/ --num-workers 8",
        "unseg-d2 generate-masks --images photos/ --output masks/ MASKS.GENERATOR tokencut FEATURES.NAME descriptors",
    ),
    notes="Interrupted at any point, the same command resumes where it stopped. To use several machines, start the "
    "command on each with its own --shard-index; the last one to finish writes labels.json.",
    resumes=True,
)
main = COMMAND.main
