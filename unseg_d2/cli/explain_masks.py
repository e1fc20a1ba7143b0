"""Draw how CutS3D comes to its masks: depth, spatial importance, and every cut with its confidence."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from unseg_d2.cli.common import recipe
from unseg_d2.cli.groups import add_images, add_output, add_recipe, add_weights
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.errors import UnsegError

if TYPE_CHECKING:
    import numpy as np
    from fvcore.common.config import CfgNode

    from unseg_d2.data.images import ImageFile
    from unseg_d2.masks.cuts3d.cuts3d import CutS3DTrace
    from unseg_d2.pseudo.pipeline import MaskPipeline


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser)
    add_images(parser, required=True)
    add_weights(parser, "", weights=False)
    add_output(parser, "folder of the pictures, one PNG per image", required=True, metavar="FOLDER")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="most images, evenly spaced; 0: all")


def _execute(args: argparse.Namespace) -> None:
    """Write the pictures and say where they are."""
    if args.limit < 0:
        raise UnsegError(f"--limit is {args.limit}, but a number of images is needed, or 0 for all.")
    cfg = recipe(args)
    import cv2

    from unseg_d2.data.coco import resolve_image
    from unseg_d2.data.images import ImageFile, read_image
    from unseg_d2.files import atomic_write
    from unseg_d2.progress import progress_bar
    from unseg_d2.pseudo.inputs import list_inputs
    from unseg_d2.viz.labels import evenly_spaced

    pipeline = _pipeline(cfg)
    inputs = list_inputs(args.images, cfg)
    problems = []
    for name in progress_bar(evenly_spaced(inputs.file_names, args.limit), unit=" images"):
        try:
            image = ImageFile(resolve_image(inputs.root, name), name)
            picture = explain(pipeline, read_image(image.path, max_pixels=cfg.PSEUDO.MAX_PIXELS), image)
        except UnsegError as error:
            problems.append((name, error))
            continue
        with atomic_write(resolve_image(args.output, f"{name}.png")) as file:
            file.write(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
    for name, problem in problems:
        print(f"{name} is left out: {problem}")
    print(f"pictures  {args.output}")


def explain(pipeline: MaskPipeline, image: np.ndarray, file: ImageFile) -> np.ndarray:
    """Run CutS3D on an image and draw what it does.

    Args:
        pipeline: one whose generator is CutS3D and which has depth.
        image: ``(H, W, 3)`` uint8 RGB.
        file: where it comes from.

    Returns:
        ``(height, width, 3)`` uint8 RGB.

    Raises:
        UnsegError: the image has no usable depth.
    """
    (view,), features = pipeline.describe([image], [file])
    (trace,) = pipeline.generator.traces(features)
    return draw(view.image, trace)


def draw(image: np.ndarray, trace: CutS3DTrace) -> np.ndarray:
    """Draw a trace of CutS3D on its (square) image."""
    import numpy as np

    from unseg_d2.viz.cut_trace import CutPicture, draw_cut_trace

    cuts = [
        CutPicture("kept" if s.accepted else "too small", s.eigenvector, s.semantic, s.mask, s.confidence)
        for s in trace.steps
    ]
    accepted = [step.mask for step in trace.steps if step.accepted]
    masks = np.array(accepted, dtype=bool).reshape(-1, *trace.distance.shape)
    return draw_cut_trace(image, trace.distance, trace.importance, cuts, masks)


def _pipeline(cfg: CfgNode) -> MaskPipeline:
    from unseg_d2.masks.cuts3d.cuts3d import CutS3D
    from unseg_d2.pseudo.pipeline import build_pipeline

    pipeline = build_pipeline(cfg)
    if not isinstance(pipeline.generator, CutS3D):
        raise UnsegError(
            f"There are pictures for CutS3D only, not for '{cfg.MASKS.GENERATOR}'; add MASKS.GENERATOR cuts3d."
        )
    return pipeline


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 explain-masks --images photos/ --output pictures/ MASKS.GENERATOR cuts3d DEPTH.SOURCE hub",
        "unseg-d2 explain-masks --images photos/ --output pictures/ --limit 5 --config-file "
        "configs/cuts3d/cascade_mask_rcnn_R_50_FPN.yaml",
    ),
    notes="The masks are those before refinement, on the patch grid. Blue of the eigenvector is below its mean, red "
    "above.",
)
main = COMMAND.main
