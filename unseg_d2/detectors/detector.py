"""A trained detector from Python: built once from a checkpoint, then run on any number of images."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config.recipe import Recipe, load_recipe
from unseg_d2.data.image_input import ImageLike, as_list
from unseg_d2.detectors.prediction import Prediction, check_threshold
from unseg_d2.detectors.predictor import Predictor
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.detectors.recipe import detector_recipe
from unseg_d2.detectors.tiles import TiledPredictor, Tiling
from unseg_d2.errors import CheckpointMismatch, missing_extra


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
                the zoo entry, else the one in the checkpoint or, of earlier versions, ``config.yaml`` beside it, else
                Cascade Mask R-CNN R50-FPN; the log says which one is used.
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
            raise mismatch.of_recipe(origin) from None
        return cls(name, TiledPredictor(predictor.network, predictor.cfg, tiling) if tiling else predictor)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *overrides: Any, **options: Any) -> Detector:
        """Build a detector from a folder that :meth:`save_pretrained` wrote, or from the Hugging Face hub.

        Args:
            name: the folder, or ``user/repository``.
            *overrides: changes to the recipe, see :meth:`load`.
            **options: of ``ModelHubMixin.from_pretrained``: ``revision``, ``token``, ``cache_dir``,
                ``local_files_only``, ``force_download``.

        Raises:
            UnsegError: there is no such folder or repository, or it cannot be reached; see :meth:`load`.
        """
        return cls.load(_hub().fetch(name, **options), *overrides)

    def save_pretrained(self, folder: str | os.PathLike[str], *, licence: str = "") -> Path:
        """Write the weights with their description, and a card, into a folder that :meth:`from_pretrained` reads.

        Args:
            folder: for ``model.safetensors`` and ``README.md``; a card that is there is kept.
            licence: of the weights, as the hub names it (``apache-2.0``); the card says where it is not stated.

        Returns:
            ``folder``.

        Raises:
            UnsegError: the folder cannot be written to.
        """
        return Path(_hub().save(self.weights, self.cfg, folder, licence=licence))

    def push_to_hub(self, repository: str, *, licence: str = "", **options: Any) -> str:
        """Upload what :meth:`save_pretrained` writes to the Hugging Face hub.

        Args:
            repository: ``user/repository``; it is made where there is none.
            licence: see :meth:`save_pretrained`.
            **options: of ``ModelHubMixin.push_to_hub``: ``private``, ``token``, ``branch``, ``create_pr``,
                ``commit_message``.

        Returns:
            The address of the commit.

        Raises:
            UnsegError: the hub cannot be reached, or refuses; nothing is lost.
        """
        return str(_hub().push(self.weights, self.cfg, repository, licence=licence, **options))

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
        check_threshold(score_threshold, "score_threshold")
        for prediction in self.predictor.on_images(as_list(images)):
            yield prediction.above(score_threshold) if score_threshold else prediction


def _hub() -> ModuleType:
    """Return the module that needs the hub's client, which is imported with it."""
    try:
        return importlib.import_module("unseg_d2.detectors.hub")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("huggingface_hub"):
            raise
        raise missing_extra("huggingface_hub", "hub") from None
