"""Run a trained detector, or a saliency head, on images and videos."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from unseg_d2.cli.common import recipe, settings
from unseg_d2.cli.groups import add_output, add_recipe, add_weights
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import DETECTOR, FEATURES
from unseg_d2.data.label_studio import LOCAL_FILES
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.viz.formats import FORMATS

if TYPE_CHECKING:
    from unseg_d2.apps.salient_objects import SalientObjects
    from unseg_d2.detectors.detector import Detector
    from unseg_d2.detectors.tiles import Tiling


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, (*DETECTOR, *FEATURES, "SALIENCY.", "REFINE."))
    group = parser.add_argument_group("images and videos")
    group.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="PATH",
        help="images, videos, folders, tar or parquet files, addresses (s3://bucket/folder), or patterns in quotes",
    )
    group.add_argument("--frame-step", type=int, default=1, metavar="N", help="use every n-th frame of a video")
    group.add_argument(
        "--track", action="store_true", help="follow objects through a video: each has a number and colour"
    )
    group.add_argument(
        "--keep-frames", action="store_true", help="store the frames of videos, which other commands need to show them"
    )
    group.add_argument(
        "--batch-size", type=int, default=1, metavar="N", help="images of one size that are processed together"
    )
    group.add_argument(
        "--tiles", type=int, metavar="PX", help="look at images through square tiles too: side of one (default: none)"
    )
    group.add_argument(
        "--tile-overlap", type=float, metavar="SHARE", help="share of a tile that the next one covers (default: 0.2)"
    )
    add_weights(parser, "trained detector or saliency head, or zoo:NAME (default: MODEL.WEIGHTS of the recipe)")
    add_output(parser, "folder of the results", required=True, metavar="FOLDER")
    form = parser.add_argument_group("form of the results")
    form.add_argument(
        "--format", default="overlays", metavar="LIST", help=f"any of {','.join(FORMATS)}, with commas between them"
    )
    form.add_argument(
        "--score-threshold", type=float, default=0.35, metavar="S", help="lowest score that is shown, from 0 to 1"
    )
    form.add_argument(
        "--image-prefix", metavar="URL", help=f"labelstudio: prefix of the images' addresses (default: {LOCAL_FILES})"
    )


def _execute(args: argparse.Namespace) -> None:
    """Process the inputs, write what is asked for, and print where it is."""
    formats = _formats(args.format)
    from unseg_d2.detectors.prediction import check_threshold

    check_threshold(args.score_threshold, "--score-threshold")
    for name in ("batch_size", "frame_step"):
        if getattr(args, name) < 1:
            raise UnsegError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be 1 or more.")
    if args.image_prefix is not None and "labelstudio" not in formats:
        raise UnsegError("--image-prefix has no effect without --format labelstudio; leave it out.")
    if args.tiles is None and args.tile_overlap is not None:
        raise UnsegError("--tile-overlap has no effect without --tiles; add the side of a tile in pixels.")
    from unseg_d2.apps.demo import check_options, run_demo
    from unseg_d2.apps.demo_results import DemoOptions
    from unseg_d2.data.media import list_media
    from unseg_d2.pseudo.tally import MANY_EMPTY

    media = list_media(args.input, without=args.output)
    prefix = LOCAL_FILES if args.image_prefix is None else args.image_prefix
    options = DemoOptions(formats, args.score_threshold, args.frame_step, args.track, args.keep_frames, prefix)
    check_options(media, options)  # before the weights are downloaded
    demo = run_demo(_detector(args), media, output=args.output, options=options)
    weaker = ", or weaker where they continue an object" if args.track else ""
    print(f"{demo.tally.line('instances')}, above score {args.score_threshold:g}{weaker}")
    if args.score_threshold and demo.tally.images and demo.tally.empty >= MANY_EMPTY * demo.tally.images:
        print("Many images have none: a lower --score-threshold shows more.")
    for path in demo.written:
        print(f"  {path}")
    if demo.failures:
        print(f"{len(demo.failures)} inputs cannot be used: {args.output / 'failures.jsonl'}")


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in formats:
        if word not in FORMATS:
            raise UnsegError(f"--format {word} is unknown: choose from {', '.join(FORMATS)}.{nearest(word, FORMATS)}")
    if not formats:
        raise UnsegError(f"--format is empty: choose from {', '.join(FORMATS)}.")
    return formats


def _detector(args: argparse.Namespace) -> Detector | SalientObjects:
    """Build the detector or the saliency head that the flags describe; trained weights are required."""
    from unseg_d2.detectors.detector import Detector
    from unseg_d2.saliency.load import is_saliency_head

    weights = args.weights or recipe(args).MODEL.WEIGHTS
    if not weights:
        raise UnsegError(
            "Random weights find nothing: name a trained detector with --weights, a checkpoint or zoo:NAME "
            "(`unseg-d2 zoo list` names them)."
        )
    from unseg_d2.apps.tracks import LOWEST_SCORE

    lowest = min(args.score_threshold, LOWEST_SCORE) if args.track else args.score_threshold
    flags = ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", lowest, "TEST.IMS_PER_BATCH", args.batch_size)
    if is_saliency_head(weights, trust=args.trust_checkpoint):
        return _salient(args, weights, flags)
    return Detector.load(weights, *settings(args), *flags, recipe=args.config_file, tiles=_tiling(args))


def _tiling(args: argparse.Namespace) -> Tiling | None:
    from unseg_d2.detectors.tiles import Tiling

    if args.tiles is None:
        return None
    return Tiling(args.tiles) if args.tile_overlap is None else Tiling(args.tiles, args.tile_overlap)


def _salient(args: argparse.Namespace, weights: str, flags: tuple[Any, ...]) -> SalientObjects:
    from unseg_d2.apps.salient_objects import SalientObjects
    from unseg_d2.saliency.load import load_saliency_model

    if args.tiles is not None:
        raise UnsegError("--tiles has no effect on a saliency head, which looks at the whole image. Leave it out.")
    if args.batch_size > 1:
        raise UnsegError("--batch-size has no effect on a saliency head: images go one by one. Leave it out.")
    model, cfg = load_saliency_model(
        weights, [*settings(args), *flags], recipe=args.config_file, trust=args.trust_checkpoint
    )
    return SalientObjects(weights, model, cfg, args.score_threshold)


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 demo --input photos/ film.mp4 --weights runs/photos/model_final.pth --output out/",
        "unseg-d2 demo --input film.mp4 --track --weights runs/a/model_final.pth --format overlays,coco --output out/",
        "unseg-d2 demo --input 'photos/*.jpg' --weights zoo:cutler_cascade_final --format overlays,coco --output out/",
        "unseg-d2 demo --input photos/ --weights zoo:found --output out/",
    ),
    notes="Without --config-file the recipe is that of the zoo's entry, else the one in the checkpoint or, of earlier "
    "versions, config.yaml beside it, else Cascade Mask R-CNN R50-FPN. With a saliency head, objects are the connected "
    "parts of its mask above one half, and their score is their mean probability.",
)
main = COMMAND.main
