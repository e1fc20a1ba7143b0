"""Train a head that finds the salient object of an image, without labels."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import begun_anew, recipe, settings
from unseg_d2.cli.groups import add_recipe, add_training_output, add_weights, as_path
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import MASKS, SMALL_TRAINING


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, (*SMALL_TRAINING, *MASKS, "SALIENCY."))
    add_weights(parser, "", weights=False)
    add_training_output(parser).add_argument(
        "--write-masks",
        type=as_path,
        metavar="FOLDER",
        help="afterwards predict the training images, as SALIENCY.TARGETS of a second round (default: none)",
    )


def _execute(args: argparse.Namespace) -> None:
    """Train, and predict the training images if asked to."""
    cfg = recipe(args, {"OUTPUT_DIR": args.output})
    begun_anew(args, cfg)
    from unseg_d2.saliency.load import load_saliency_model
    from unseg_d2.saliency.train import train_saliency, training_images, write_masks

    weights = train_saliency(cfg, resume=not args.restart)
    print(f"weights: {weights}")
    if args.write_masks:
        model, _ = load_saliency_model(weights, settings(args))
        write_masks(model, training_images(cfg), args.write_masks, weights)
        print(f"masks:   {args.write_masks}")


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 train-saliency --config-file configs/saliency/two_tricks.yaml --output runs/saliency",
        "unseg-d2 train-saliency --config-file configs/saliency/two_tricks.yaml --output runs/saliency "
        "--write-masks runs/saliency/masks",
    ),
    notes="Recipes are in configs/saliency. Interrupted, the same command resumes; --restart begins anew. Score the "
    "result with: unseg-d2 evaluate saliency --weights runs/saliency/model_final.pth --datasets ecssd",
    resumes=True,
)
main = COMMAND.main
