"""Turn published weights into a file that both engines read: a DINO ResNet-50, a .pkl, a .pth, a .safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from unseg_d2.cli.common import recipe
from unseg_d2.cli.groups import add_output, add_recipe, add_weights
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.loop.formats import FORMATS

if TYPE_CHECKING:
    from unseg_d2.detectors.convert import Conversion


def _arguments(parser: CommandParser) -> None:
    add_weights(parser, "checkpoint (.pth, .pkl, .safetensors) or zoo:NAME; .pkl: --trust-checkpoint", required=True)
    add_output(parser, f"file to write: {' or '.join(FORMATS)}", required=True, metavar="FILE")
    parser.add_argument("--backbone-only", action="store_true", help="take the ResNet of a detector")
    add_recipe(parser, settings=False)
    parser.unnamed = ("--weights", "--output")


def _execute(args: argparse.Namespace) -> None:
    """Convert and say what was found."""
    from unseg_d2.detectors.convert import check_fit, convert, write
    from unseg_d2.files import check_apart

    check_apart(args.output, Path(args.weights))
    conversion = convert(args.weights, trust=args.trust_checkpoint, backbone_only=args.backbone_only)
    if args.config_file:
        check_fit(conversion, recipe(args), args.weights)
    write(conversion, args.output)
    print(_report(conversion, args.output))
    if args.config_file:
        print(f"names and shapes fit {args.config_file}")


def _report(conversion: Conversion, output: Path) -> str:
    what = {0: "a ResNet backbone", 1: "a detector with one box head"}
    lines = [
        f"{output}: {what.get(conversion.heads, f'a cascade of {conversion.heads} box heads')}, "
        f"{len(conversion.state)} tensors in Detectron2's names, which both engines read"
    ]
    if conversion.source.startswith("Detectron2"):
        lines.append("names were Detectron2's already: only the file format was converted")
    if conversion.left_out:
        lines.append(f"left out: {', '.join(conversion.left_out)}")
    if conversion.about.engine and "optimizer" in conversion.left_out:
        lines.append(f"a training resumes from the original file, with ENGINE {conversion.about.engine}")
    return "\n".join(lines)


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 convert-checkpoint --weights zoo:dino_resnet50 --output dino_r50.safetensors",
        "unseg-d2 convert-checkpoint --weights model_final.pkl --trust-checkpoint --output model_final.pth "
        "--config-file configs/cutler/cascade_mask_rcnn_R_50_FPN.yaml",
    ),
    notes="With --config-file, the weights must fit the network of that recipe. Between the engines there is nothing "
    "to convert: both read and write Detectron2's names. A training resumes only from the original file, as the "
    "optimiser's state is left out here.",
)
main = COMMAND.main
