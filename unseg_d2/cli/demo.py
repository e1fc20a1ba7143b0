"""Run a trained detector on images and videos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from unseg_d2.cli.common import recipe
from unseg_d2.cli.groups import add_output, add_recipe, add_weights
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.data.label_studio import LOCAL_FILES
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.recipes import RECIPES
from unseg_d2.viz.formats import FORMATS
from unseg_d2.zoo.registry import find
from unseg_d2.zoo.store import resolve

if TYPE_CHECKING:
    from fvcore.common.config import CfgNode

BASE_RECIPE = "base_cascade_mask_rcnn_R_50_FPN.yaml"


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser)
    group = parser.add_argument_group("images and videos")
    group.add_argument(
        "--input", required=True, nargs="+", metavar="PATH", help="images, videos, folders, or patterns in quotes"
    )
    group.add_argument("--frame-step", type=int, default=1, metavar="N", help="look at every n-th frame of a video")
    group.add_argument(
        "--batch-size", type=int, default=1, metavar="N", help="images of one size that are looked at together"
    )
    add_weights(parser, "checkpoint of a trained detector, or zoo:NAME (default: MODEL.WEIGHTS of the recipe)")
    add_output(parser, "folder of what is written", required=True, metavar="FOLDER")
    form = parser.add_argument_group("form of the results")
    form.add_argument(
        "--format", default="overlays", metavar="LIST", help=f"any of {','.join(FORMATS)}, with commas between them"
    )
    form.add_argument(
        "--score-threshold", type=float, default=0.35, metavar="S", help="lowest score that is shown, from 0 to 1"
    )
    form.add_argument(
        "--image-prefix", default=LOCAL_FILES, metavar="URL", help="Label Studio: what addresses of images start with"
    )


def _execute(args: argparse.Namespace) -> None:
    """Look at the inputs, write what is asked for, and say where it is."""
    formats = _formats(args.format)
    if not 0 <= args.score_threshold <= 1:
        raise UnsegError(f"--score-threshold is {args.score_threshold:g}, but scores lie between 0 and 1.")
    for name in ("batch_size", "frame_step"):
        if getattr(args, name) < 1:
            raise UnsegError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be 1 or more.")
    cfg = _cfg(args)
    if not Path(resolve(cfg.MODEL.WEIGHTS)).is_file():  # before any work
        raise UnsegError(f"There is no checkpoint {cfg.MODEL.WEIGHTS}.")
    from unseg_d2.data.media import list_media
    from unseg_d2.detectors.protocol import select_engine
    from unseg_d2.training.demo import DemoOptions, run_demo

    media = list_media(args.input)
    options = DemoOptions(formats, args.frame_step, args.image_prefix)
    weights = cfg.MODEL.WEIGHTS
    demo = run_demo(select_engine(cfg.ENGINE), cfg, media, weights=weights, output=args.output, options=options)
    print(f"{demo.instances} instances in {demo.images} images above score {args.score_threshold:g}")
    for path in demo.written:
        print(f"  {path}")
    if demo.failures:
        print(f"{len(demo.failures)} inputs not usable: {args.output / 'failures.jsonl'}")


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in formats:
        if word not in FORMATS:
            raise UnsegError(f"--format {word} is unknown: choose from {', '.join(FORMATS)}.{nearest(word, FORMATS)}")
    if not formats:
        raise UnsegError(f"--format is empty: choose from {', '.join(FORMATS)}.")
    return formats


def _cfg(args: argparse.Namespace) -> CfgNode:
    """Return the recipe with the flags filled in; without trained weights there is none."""
    named = args.weights or dict(zip(args.opts[::2], args.opts[1::2])).get("MODEL.WEIGHTS", "")
    entry = find(named) if named.startswith("zoo:") else None
    base = entry.recipe_file() if entry and args.config_file is None else RECIPES / BASE_RECIPE
    flags = {
        "MODEL.WEIGHTS": args.weights,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": args.score_threshold,
        "TEST.IMS_PER_BATCH": args.batch_size,
    }
    cfg = recipe(args, flags, config_file=base)
    if not cfg.MODEL.WEIGHTS:
        raise UnsegError(
            "Random weights find nothing: name a trained detector with --weights, a checkpoint or zoo:NAME "
            "(`unseg-d2 zoo list` names them)."
        )
    if cfg.MODEL.WEIGHTS.startswith("zoo:") and find(cfg.MODEL.WEIGHTS).kind != "detector":
        find(cfg.MODEL.WEIGHTS).recipe_file()  # says so
    return cfg


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 demo --input photos/ film.mp4 --weights runs/photos/model_final.pth --output out/ "
        "--config-file configs/cutler/cascade_mask_rcnn_R_50_FPN.yaml",
        "unseg-d2 demo --input 'photos/*.jpg' --weights zoo:cutler_cascade_final --format overlays,coco --output out/",
    ),
    notes="Without --config-file the recipe is that of the zoo's entry, else Cascade Mask R-CNN R50-FPN.",
)
main = COMMAND.main
