"""Pseudo-masks of single images, from Python."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config.recipe import Recipe, load_recipe
from unseg_d2.data.at_work import at_work
from unseg_d2.data.image_input import ImageLike, as_rgb
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.data.settings import InputSettings
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.pipeline import MaskPipeline, build_pipeline
from unseg_d2.pseudo.pseudo_masks import PseudoMasks


class MaskGenerator:
    """Finds the objects of an image without a trained detector: features, mask generator, refinement.

    Attributes:
        cfg: the recipe, frozen.
        pipeline: its parts, which work on batches.
    """

    def __init__(self, cfg: CfgNode, pipeline: MaskPipeline) -> None:
        self.cfg, self.pipeline = cfg, pipeline

    @classmethod
    def from_recipe(cls, recipe: Recipe, *overrides: Any) -> MaskGenerator:
        """Build the generator of a recipe; its ``FEATURES``, ``DEPTH``, ``MASKS`` and ``REFINE`` are read.

        Args:
            recipe: a YAML file, the name of a shipped recipe such as ``configs/quickstart.yaml``, or a configuration.
            *overrides: alternating keys and values, ``"MASKS.GENERATOR", "votecut"``, or one mapping.

        Raises:
            UnsegError: there is no such recipe, key or generator, or a weight file or an extra is missing.
        """
        cfg = load_recipe(recipe, *overrides)
        return cls(cfg, build_pipeline(cfg))

    def __call__(self, image: ImageLike) -> PseudoMasks:
        """Find the objects of an image.

        Args:
            image: a path, a Pillow image or an ``(H, W, 3)`` uint8 array in RGB. Recipes whose depth lies in files
                need a path.

        Returns:
            The masks at the size of the image, best first, as ``generate_masks`` writes them into a label set: a list
            of :class:`PseudoMask` that has ``draw(image)`` and ``to_coco()``.

        Raises:
            UnsegError: the image cannot be used, or has no usable depth.
        """
        path = Path(image) if isinstance(image, (str, os.PathLike)) else Path("image")
        pixels = as_rgb(image, InputSettings.from_config(self.cfg).reading)
        try:
            with at_work(path.name):
                return self.pipeline([pixels], [ImageFile(path, path.name)])[0]
        except ImageProblem as problem:
            raise UnsegError(f"The image cannot be used: {problem}.") from problem
