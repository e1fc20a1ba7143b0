"""Write a label set as one COCO file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from unseg_d2.pseudo.label_set import export, summarise


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("label_set", type=Path, help="folder that generate_masks made")
    parser.add_argument("--output", type=Path, help="COCO file to write (default: labels.json in the folder)")
    parser.add_argument("--partial", action="store_true", help="take what is finished of an unfinished label set")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file and say what is in it."""
    args = parser().parse_args(arguments)
    path = export(args.label_set, args.output, partial=args.partial)
    print(summarise(args.label_set, path))
