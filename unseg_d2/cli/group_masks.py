"""Put masks into groups that look alike, and name the groups: a label set with classes from one without."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import recipe
from unseg_d2.cli.groups import add_images, add_labels, add_output, add_recipe, as_path
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import GROUPS


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, GROUPS)
    add_labels(parser, "label set (COCO file or folder), or COCO results together with --gt")
    group = parser.add_argument_group("ground truth")
    group.add_argument(
        "--gt", type=as_path, metavar="FILE", help="data set that results are for, with their images (default: none)"
    )
    add_images(parser, text="folder of the images (default: where the label set says they are)", type=as_path)
    group = parser.add_argument_group("groups")
    group.add_argument(
        "--prototypes",
        type=as_path,
        metavar="FOLDER",
        help="output of another group-masks, whose groups and names are taken for these masks (default: find groups)",
    )
    group.add_argument(
        "--names",
        type=as_path,
        metavar="FILE",
        help="names of the groups, saved from the page in the output folder (default: those that were given before)",
    )
    add_output(parser, "folder of the new label set and of the page of its groups", required=True, metavar="FOLDER")


def _execute(args: argparse.Namespace) -> None:
    """Group the masks and print what is in which group."""
    cfg = recipe(args)
    from unseg_d2.groups.group_masks import group_label_set

    grouped = group_label_set(
        cfg,
        args.labels,
        args.output,
        images=args.images,
        ground_truth=args.gt,
        prototypes=args.prototypes,
        names=args.names,
    )
    print("\n".join(grouped.lines()))


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 group-masks --labels masks/ --output groups/ GROUPS.NUMBER 20",
        "unseg-d2 group-masks --labels masks/ --output groups/ GROUPS.NUMBER 20 --names names.json",
        "unseg-d2 group-masks --labels more/ --output more_groups/ --prototypes groups/",
    ),
    notes="The masks are described by FEATURES; those that the masks were made with are a good choice. Needs the extra "
    "groups.",
    resumes=True,
)
main = COMMAND.main
