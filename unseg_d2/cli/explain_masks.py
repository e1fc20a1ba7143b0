"""Draw how CutS3D arrives at its masks: depth, spatial importance, and every cut with its confidence."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import recipe
from unseg_d2.cli.groups import add_images, add_output, add_recipe, add_weights
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import MASKS


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, MASKS)
    add_images(parser, required=True)
    add_weights(parser, "", weights=False)
    add_output(parser, "folder of the pictures, one PNG per image", required=True, metavar="FOLDER")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="most images, evenly spaced; 0: all")


def _execute(args: argparse.Namespace) -> None:
    """Write the pictures and print where they are."""
    cfg = recipe(args)
    from unseg_d2.apps.explain_masks import explain_masks

    for name, problem in explain_masks(cfg, args.images, args.output, limit=args.limit):
        print(f"{name} is left out: {problem}")
    print(f"pictures  {args.output}")


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 explain-masks --images photos/ --output pictures/ MASKS.GENERATOR cuts3d DEPTH.SOURCE hub",
        "unseg-d2 explain-masks --images photos/ --output pictures/ --limit 5 --config-file "
        "configs/cuts3d/cascade_mask_rcnn_R_50_FPN.yaml",
    ),
    notes="The masks are those before refinement, on the patch grid. The eigenvector is blue below its mean and red "
    "above.",
)
main = COMMAND.main
