"""Turn published weights into a file that both engines read: a DINO ResNet-50, a .pkl, a .pth, a .safetensors."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from unseg_d2.config import load_cfg
from unseg_d2.detectors.convert import FORMATS, Conversion, check_fit, convert, write


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Between the engines there is nothing to convert: both read and write Detectron2's names. Training goes "
        "on from the original file alone, since the state of an optimiser is left out here.",
    )
    parser.add_argument("input", help="checkpoint (.pth, .pkl, .safetensors) or zoo:NAME")
    parser.add_argument("output", type=Path, help=f"file to write: {' or '.join(FORMATS)}")
    parser.add_argument("--backbone-only", action="store_true", help="take the ResNet of a detector")
    parser.add_argument("--config-file", metavar="FILE", help="check that the weights fit the network of this recipe")
    parser.add_argument("--trust-checkpoint", action="store_true", help="allow pickled objects; a .pkl needs it")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert and say what was found."""
    args = parser().parse_args(arguments)
    conversion = convert(args.input, trust=args.trust_checkpoint, backbone_only=args.backbone_only)
    if args.config_file:
        check_fit(conversion, load_cfg(args.config_file), args.input)
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
        lines.append("names were Detectron2's already: nothing was left to convert but the file format")
    if conversion.left_out:
        lines.append(f"left out: {', '.join(conversion.left_out)}")
    if conversion.engine and "optimizer" in conversion.left_out:
        lines.append(f"training goes on from the original file, with ENGINE {conversion.engine}")
    return "\n".join(lines)
