"""Train a head that finds the salient object of an image, without labels."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from unseg_d2.cli.common import add_config_arguments
from unseg_d2.config import load_cfg
from unseg_d2.saliency.train import load_saliency_model, train_saliency, training_images, write_masks


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Recipes are in configs/saliency. Repeat the command with --resume after an interruption. Score the "
        "result with: evaluate --task saliency --weights OUTPUT_DIR/model_final.pth --datasets ecssd",
    )
    add_config_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR")
    parser.add_argument(
        "--write-masks",
        type=Path,
        metavar="FOLDER",
        help="predict the training images afterwards: the SALIENCY.TARGETS of a second round",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and predict the training images where asked to."""
    args = parser().parse_args(arguments)
    cfg = load_cfg(args.config_file, args.opts)
    weights = train_saliency(cfg, resume=args.resume)
    print(f"weights: {weights}")
    if args.write_masks:
        model, _ = load_saliency_model(weights, args.opts)
        write_masks(model, training_images(cfg), args.write_masks)
        print(f"masks:   {args.write_masks}")
