"""Draw how CutS3D arrives at its masks: depth, spatial importance, and every cut with its confidence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.at_work import at_work
from unseg_d2.data.coco import resolve_image
from unseg_d2.data.images import ImageFile, ImageProblem, read_image
from unseg_d2.data.settings import InputSettings
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.masks.cuts3d.cuts3d import CutS3D, CutS3DTrace
from unseg_d2.progress import progress_bar
from unseg_d2.pseudo.inputs import list_inputs
from unseg_d2.pseudo.pipeline import MaskPipeline, build_pipeline
from unseg_d2.viz.cut_trace import CutPicture, draw_cut_trace
from unseg_d2.viz.labels import evenly_spaced


def explain_masks(cfg: CfgNode, images: str, output: Path, *, limit: int = 50) -> list[tuple[str, UnsegError]]:
    """Write a picture per image: ``output/NAME.png``.

    Args:
        cfg: recipe with the generator CutS3D and a source of depth.
        images: see :func:`unseg_d2.pseudo.inputs.list_inputs`.
        output: folder of the pictures.
        limit: most images, evenly spaced; 0: all.

    Returns:
        The images that are left out, each with the reason.

    Raises:
        UnsegError: the generator is not CutS3D, or there is no depth.
    """
    if limit < 0:
        raise UnsegError(f"--limit is {limit}, but a number of images is needed, or 0 for all.")
    pipeline = build_pipeline(cfg)
    if not isinstance(pipeline.generator, CutS3D):
        raise UnsegError(
            f"There are pictures for CutS3D only, not for '{cfg.MASKS.GENERATOR}'; add MASKS.GENERATOR cuts3d."
        )
    inputs = list_inputs(images, cfg)
    problems: list[tuple[str, UnsegError]] = []
    for name in progress_bar(evenly_spaced(inputs.file_names, limit), unit=" images"):
        image = ImageFile(resolve_image(inputs.root, name), name)
        try:
            with at_work(name):
                pixels = read_image(image.path, InputSettings.from_config(cfg).reading)
                picture = explain(pipeline, pipeline.generator, pixels, image)
        except ImageProblem as error:
            problems.append((name, error))
            continue
        with atomic_write(resolve_image(output, f"{name}.png")) as file:
            file.write(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
    return problems


def explain(pipeline: MaskPipeline, generator: CutS3D, image: np.ndarray, file: ImageFile) -> np.ndarray:
    """Run CutS3D on an image and draw what it does.

    Args:
        pipeline: one that has depth.
        generator: that of the pipeline.
        image: ``(H, W, 3)`` uint8 RGB.
        file: where it comes from.

    Returns:
        ``(height, width, 3)`` uint8 RGB.

    Raises:
        UnsegError: the image has no usable depth.
    """
    (view,), features = pipeline.describe([image], [file])
    (trace,) = generator.traces(features)
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
