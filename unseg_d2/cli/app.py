"""Try photos on a page in the browser: generators with their settings, a trained detector, scores, COCO."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import recipe
from unseg_d2.cli.groups import add_recipe, add_weights
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import DETECTOR, GROUPS, MASKS
from unseg_d2.errors import UnsegError


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, (*MASKS, *GROUPS, *DETECTOR))
    add_weights(parser, "trained detector, or zoo:NAME, to find objects with too (default: none)")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="where the page is, at 127.0.0.1")


def _execute(args: argparse.Namespace) -> None:
    """Show the page until it is interrupted."""
    if not 1024 <= args.port <= 65535:
        raise UnsegError(f"--port is {args.port}, but a number from 1024 to 65535 is needed.")
    from unseg_d2.apps.app import ADDRESS, require_gradio, serve
    from unseg_d2.apps.finder import Finder
    from unseg_d2.detectors.detector import Detector

    require_gradio()
    cfg = recipe(args)
    detector = Detector.load(args.weights, trust_checkpoint=args.trust_checkpoint) if args.weights else None
    print(f"http://{ADDRESS}:{args.port}  (end with Ctrl+C)", flush=True)
    serve(Finder(cfg, detector), port=args.port)


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 app --config-file configs/quickstart.yaml",
        "unseg-d2 app --config-file configs/masks/uniap_descriptors.yaml",
        "unseg-d2 app --config-file configs/cutler/cascade_mask_rcnn_R_50_FPN.yaml --weights zoo:cutler_cascade_final",
    ),
    notes="The page is on this machine alone, and sends nothing anywhere. Features, depth and refinement are those of "
    "the recipe; the page changes the generator and its settings, and puts masks into groups by these features (extra "
    "groups). The recipe of the detector lies beside --weights.",
)
main = COMMAND.main
