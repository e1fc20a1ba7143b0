"""A trained detector from Python: built once from a checkpoint, then run on any number of images."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config.recipe import Recipe, load_recipe
from unseg_d2.data.image_input import ImageLike, as_list
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.detectors.predictor import Predictor
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.detectors.tiles import TiledPredictor, Tiling
from unseg_d2.errors import UnsegError
from unseg_d2.loop.checkpoint import CheckpointMismatch
from unseg_d2.recipes import RECIPES
from unseg_d2.zoo.registry import find
from unseg_d2.zoo.store import resolve

BASE_RECIPE = "base_cascade_mask_rcnn_R_50_FPN.yaml"

logger = logging.getLogger(__name__)


class Detector:
    """A trained detector, on its device.

    Attributes:
        weights: the checkpoint, as the caller named it.
        predictor: the network and how images are prepared for it.
    """

    def __init__(self, weights: str, predictor: Predictor) -> None:
        self.weights, self.predictor = weights, predictor

    @classmethod
    def load(
        cls,
        weights: str | os.PathLike[str],
        *overrides: Any,
        recipe: Recipe | None = None,
        trust_checkpoint: bool = False,
        tiles: int | Tiling | None = None,
    ) -> Detector:
        """Build the network of a checkpoint, with the engine that ``ENGINE`` of its recipe names.

        Args:
            weights: checkpoint of a whole detector, of either engine or in CutLER's published layout, or ``zoo:NAME``.
            *overrides: changes to the recipe: alternating keys and values, ``"MODEL.DEVICE", "cpu"``, or one mapping.
            recipe: of the network: a YAML file, the name of a shipped recipe, or a configuration. By default that of
                the zoo entry, else ``config.yaml`` beside the checkpoint (training writes it), else Cascade Mask R-CNN
                R50-FPN; the log says which one is used.
            trust_checkpoint: allow pickled objects in the checkpoint, which can run arbitrary code.
            tiles: look at images through overlapping square tiles, and as a whole: side of a tile in pixels of the
                image, 64 or more, or :class:`~unseg_d2.detectors.tiles.Tiling`.

        Raises:
            UnsegError: there is no such checkpoint, recipe or engine, tiles are out of range, or the checkpoint is of
                another task or does not fit the recipe.
        """
        tiling = Tiling(tiles) if isinstance(tiles, int) else tiles
        cfg, origin = detector_recipe(weights, recipe, *overrides)
        if trust_checkpoint:
            cfg = load_recipe(cfg, "MODEL.TRUST_CHECKPOINT", True)
        name = os.fspath(weights)
        try:
            predictor = select_engine(cfg.ENGINE).build_predictor(cfg, weights=name)
        except CheckpointMismatch as mismatch:
            raise UnsegError(f"{mismatch} Recipe used: {origin}.") from None
        return cls(name, TiledPredictor(predictor.network, predictor.cfg, tiling) if tiling else predictor)

    @property
    def cfg(self) -> CfgNode:
        """The recipe, frozen."""
        return self.predictor.cfg

    def __call__(self, images: ImageLike | Iterable[ImageLike], *, score_threshold: float = 0.0) -> list[Prediction]:
        """Detect the objects in images; consecutive images of one size form a batch.

        Args:
            images: paths, Pillow images or ``(H, W, 3)`` uint8 arrays in RGB, or a single one of these.
                ``TEST.IMS_PER_BATCH`` of the recipe is the largest size of a batch.
            score_threshold: lowest score in [0, 1]; ``MODEL.ROI_HEADS.SCORE_THRESH_TEST`` of the recipe applies too.

        Returns:
            One :class:`Prediction` per image, in their order; ``image_id`` counts from 0.

        Raises:
            UnsegError: an image cannot be used.
        """
        return list(self.stream(images, score_threshold=score_threshold))

    def stream(self, images: ImageLike | Iterable[ImageLike], *, score_threshold: float = 0.0) -> Iterator[Prediction]:
        """Yield what a call returns, one by one; only one batch of images is held in memory.

        Args:
            images: see :meth:`__call__`.
            score_threshold: see :meth:`__call__`.

        Raises:
            UnsegError: an image cannot be used.
        """
        if not 0 <= score_threshold <= 1:
            raise UnsegError(f"score_threshold is {score_threshold:g}, but scores lie between 0 and 1.")
        for prediction in self.predictor.on_images(as_list(images)):
            yield prediction.above(score_threshold) if score_threshold else prediction


def detector_recipe(
    weights: str | os.PathLike[str], recipe: Recipe | None = None, *overrides: Any
) -> tuple[CfgNode, str]:
    """Return the recipe of a checkpoint, and a phrase that says which one it is.

    Args:
        weights: checkpoint of a whole detector, or ``zoo:NAME``.
        recipe: see :meth:`Detector.load`.
        *overrides: see :meth:`Detector.load`.

    Raises:
        UnsegError: there is no such checkpoint, it is not one of a detector, or its recipe cannot be read.
    """
    name = os.fspath(weights)
    if name.startswith("zoo:"):
        shipped = find(name).recipe_file()  # raises if it is not a detector
    path = Path(resolve(name))
    if not path.is_file():
        raise UnsegError(f"There is no checkpoint {name}.")
    beside = path.parent / "config.yaml"
    if recipe is not None:
        cfg = load_recipe(recipe, *overrides)
        return cfg, "the given configuration" if isinstance(recipe, CfgNode) else os.fspath(recipe)
    if name.startswith("zoo:"):
        recipe, origin = shipped, f"{shipped.relative_to(RECIPES)}, the recipe of the zoo entry"
    elif beside.is_file():
        recipe, origin = beside, f"{beside}, found beside the checkpoint"
    else:
        recipe, origin = (
            RECIPES / BASE_RECIPE,
            f"{BASE_RECIPE}, because none was named and there is none beside the checkpoint",
        )
    logger.info("Recipe of %s: %s", name, origin)
    try:
        return load_recipe(recipe, *overrides), origin
    except UnsegError as error:
        raise UnsegError(f"{error} Recipe used: {origin}; name another one.") from None
