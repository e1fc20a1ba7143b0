"""Make pseudo-masks for images: a label set in COCO format."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import look_at, recipe
from unseg_d2.cli.groups import (
    add_images,
    add_output,
    add_processes,
    add_recipe,
    add_weights,
    not_negative,
    positive,
    where,
)
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import MASKS, SPREAD


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, (*MASKS, *SPREAD))
    add_images(parser, required=True)
    add_weights(parser, "", weights=False)
    add_output(parser, "folder of the label set", required=True, metavar="FOLDER")
    group = add_processes(parser, workers="processes (default: one per GPU, or one per core)", engine="make them")
    group.add_argument(
        "--shard-index",
        type=not_negative,
        default=0,
        metavar="K",
        help="which of several commands this is, from 0 on: it begins with a share of its own, and helps the others",
    )
    group.add_argument("--num-shards", type=positive, default=1, metavar="N", help="number of these commands")


def _execute(args: argparse.Namespace) -> None:
    """Make the label set, together with the same command on other machines, and print where it is."""
    cfg, place = recipe(args), where(args)
    from unseg_d2.pseudo.generate import generate_label_set
    from unseg_d2.pseudo.label_set import headline, summarise

    labels = generate_label_set(
        cfg,
        args.images,
        args.output,
        shard_index=args.shard_index,
        num_shards=args.num_shards,
        **place,
    )
    print(summarise(args.output) if args.num_shards == 1 else headline(labels))  # one of them said the rest in export
    print(look_at(args.output, "gallery.html"))


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
    "command on each with its own --shard-index: what one has not made that was killed or is slower, the others make, "
    "and one of them writes labels.json.",
    resumes=True,
)
main = COMMAND.main
