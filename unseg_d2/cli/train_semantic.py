"""Learn to segment images into K classes without labels: PriMaPs-EM."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import begun_anew, recipe
from unseg_d2.cli.groups import add_recipe, add_training_output, add_weights
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import MASKS, SMALL_TRAINING


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, (*SMALL_TRAINING, *MASKS, "SEMANTIC."))
    add_weights(parser, "", weights=False)
    add_training_output(parser)


def _execute(args: argparse.Namespace) -> None:
    """Train, and print where the checkpoint is."""
    cfg = recipe(args, {"OUTPUT_DIR": args.output})
    begun_anew(args, cfg)
    from unseg_d2.semantic.train import train_semantic

    print(f"weights: {train_semantic(cfg, resume=not args.restart)}")


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 train-semantic --config-file configs/semantic/folder.yaml --output runs/semantic "
        "DATASETS.TRAIN \"('photos/',)\"",
        "unseg-d2 train-semantic --config-file configs/semantic/folder.yaml --output runs/semantic --restart",
    ),
    notes="Recipes are in configs/semantic. Interrupted, the same command resumes; --restart begins anew. Score the "
    "result with: unseg-d2 evaluate semantic --weights runs/semantic/model_final.pth --datasets IMAGES::LABELS",
    resumes=True,
)
main = COMMAND.main
