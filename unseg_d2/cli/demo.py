"""Run a trained detector on images and videos."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from unseg_d2.cli.common import Names, add_config_arguments
from unseg_d2.config import load_cfg
from unseg_d2.data.label_studio import LOCAL_FILES
from unseg_d2.data.media import list_media
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.recipes import RECIPES
from unseg_d2.training.demo import DemoOptions, run_demo
from unseg_d2.viz.formats import FORMATS
from unseg_d2.zoo.registry import find
from unseg_d2.zoo.store import resolve

BASE_RECIPE = "base_cascade_mask_rcnn_R_50_FPN.yaml"


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Without --config-file the recipe is that of the zoo's entry, else Cascade Mask R-CNN R50-FPN.",
    )
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        action=Names,
        metavar="PATH",
        help="images, videos, folders, or patterns in quotes",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder of what is written")
    parser.add_argument("--weights", metavar="W", help="checkpoint of a trained detector, or zoo:NAME")
    parser.add_argument("--format", default="overlays", metavar="LIST", help=f"any of {','.join(FORMATS)}")
    parser.add_argument("--score-threshold", type=float, default=0.35, help="lowest score that is shown (0.35)")
    parser.add_argument("--batch-size", type=int, default=1, help="images of one size that are looked at together (1)")
    parser.add_argument("--frame-step", type=int, default=1, help="look at every n-th frame of a video (1)")
    parser.add_argument(
        "--image-prefix", default=LOCAL_FILES, help=f"Label Studio: what addresses of images start with ({LOCAL_FILES})"
    )
    parser.add_argument("--trust-checkpoint", action="store_true", help="allow pickled objects in the checkpoint")
    add_config_arguments(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Look at the inputs, write what is asked for, and say where it is."""
    args = parser().parse_args(arguments)
    formats = _formats(args.format)
    if not 0 <= args.score_threshold <= 1:
        raise UnsegError(f"--score-threshold is {args.score_threshold:g}, but scores lie between 0 and 1.")
    for name in ("batch_size", "frame_step"):
        if getattr(args, name) < 1:
            raise UnsegError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be 1 or more.")
    cfg = _cfg(args)
    if not Path(resolve(cfg.MODEL.WEIGHTS)).is_file():  # before any work
        raise UnsegError(f"There is no checkpoint {cfg.MODEL.WEIGHTS}.")
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
    recipe = args.config_file
    if recipe is None:
        named = args.weights or dict(zip(args.opts[::2], args.opts[1::2])).get("MODEL.WEIGHTS", "")
        recipe = find(named).recipe_file() if named.startswith("zoo:") else RECIPES / BASE_RECIPE
    cfg = load_cfg(recipe, args.opts)
    cfg.defrost()
    cfg.MODEL.WEIGHTS = args.weights or cfg.MODEL.WEIGHTS
    if not cfg.MODEL.WEIGHTS:
        raise UnsegError(
            "Random weights find nothing: name a trained detector with --weights, a checkpoint or zoo:NAME "
            "(`unseg-d2 zoo list` names them)."
        )
    if cfg.MODEL.WEIGHTS.startswith("zoo:") and find(cfg.MODEL.WEIGHTS).kind != "detector":
        find(cfg.MODEL.WEIGHTS).recipe_file()  # says so
    cfg.MODEL.TRUST_CHECKPOINT |= args.trust_checkpoint
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = args.score_threshold
    cfg.TEST.IMS_PER_BATCH = args.batch_size
    cfg.freeze()
    return cfg
