"""Draw how CutS3D comes to its masks: depth, spatial importance, and every cut with its confidence."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.cli.common import add_config_arguments
from unseg_d2.config import load_cfg
from unseg_d2.data.coco import resolve_image
from unseg_d2.data.images import ImageFile, read_image
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.masks.cuts3d.cuts3d import CutS3D, CutS3DTrace
from unseg_d2.progress import progress_bar
from unseg_d2.pseudo.inputs import list_inputs
from unseg_d2.pseudo.pipeline import MaskPipeline, build_pipeline
from unseg_d2.viz.cut_trace import CutPicture, draw_cut_trace
from unseg_d2.viz.labels import evenly_spaced


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="The masks are those before refinement, on the patch grid. Blue of the eigenvector is below its mean, "
        "red above.",
    )
    add_config_arguments(parser)
    parser.add_argument("--images", required=True, help="as for generate_masks: folder, COCO file or built-in name")
    parser.add_argument("--output", required=True, type=Path, help="folder of the pictures, one PNG per image")
    parser.add_argument("--limit", type=int, default=50, help="most images, evenly spaced; 0: all")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pictures and say where they are."""
    args = parser().parse_args(arguments)
    if args.limit < 0:
        raise UnsegError(f"--limit is {args.limit}, but a number of images is needed, or 0 for all.")
    cfg = load_cfg(args.config_file, args.opts)
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
    for name, error in problems:
        print(f"{name} is left out: {error}")
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
    cuts = [
        CutPicture("kept" if s.accepted else "too small", s.eigenvector, s.semantic, s.mask, s.confidence)
        for s in trace.steps
    ]
    accepted = [step.mask for step in trace.steps if step.accepted]
    masks = np.array(accepted, dtype=bool).reshape(-1, *trace.distance.shape)
    return draw_cut_trace(image, trace.distance, trace.importance, cuts, masks)


def _pipeline(cfg: CfgNode) -> MaskPipeline:
    pipeline = build_pipeline(cfg)
    if not isinstance(pipeline.generator, CutS3D):
        raise UnsegError(
            f"There are pictures for CutS3D only, not for '{cfg.MASKS.GENERATOR}'; add MASKS.GENERATOR cuts3d."
        )
    return pipeline
