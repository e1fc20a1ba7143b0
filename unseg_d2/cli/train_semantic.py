"""Learn to segment images into K classes without labels: PriMaPs-EM."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from unseg_d2.cli.common import add_config_arguments
from unseg_d2.config import load_cfg
from unseg_d2.semantic.train import train_semantic


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Recipes are in configs/semantic. Repeat the command with --resume after an interruption. Score the "
        "result with: evaluate --task semantic --weights OUTPUT_DIR/model_final.pth --datasets IMAGES::LABELS",
    )
    add_config_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and say where the checkpoint is."""
    args = parser().parse_args(arguments)
    print(f"weights: {train_semantic(load_cfg(args.config_file, args.opts), resume=args.resume)}")
