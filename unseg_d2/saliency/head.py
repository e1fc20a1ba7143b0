"""A saliency head from Python: built once from a file, then run on any number of images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from unseg_d2.config.recipe import flat_options
from unseg_d2.data.image_input import ImageLike, as_list, as_rgb
from unseg_d2.data.pictures.reading import DEFAULT_READING, Reading
from unseg_d2.data.settings import InputSettings
from unseg_d2.saliency.load import load_saliency_model
from unseg_d2.saliency.predict import SaliencyModel


class SaliencyHead:
    """A head that finds what stands out in an image, on its device.

    Attributes:
        weights: the file, as the caller named it.
        model: features, head, and what is done to its masks.
        reading: how files become RGB.
    """

    def __init__(self, weights: str, model: SaliencyModel, reading: Reading = DEFAULT_READING) -> None:
        self.weights, self.model, self.reading = weights, model, reading

    @classmethod
    def load(
        cls,
        weights: str | os.PathLike[str],
        *overrides: Any,
        recipe: str | os.PathLike[str] | None = None,
        trust_checkpoint: bool = False,
    ) -> SaliencyHead:
        """Build the head of a file, with the features of its recipe.

        Args:
            weights: checkpoint of ``train-saliency``, the published file of FOUND or UnionSeg, or ``zoo:found``,
                ``zoo:unionseg``.
            *overrides: changes to the recipe: alternating keys and values, ``"FEATURES.DEVICE", "cpu"``, or one
                mapping.
            recipe: of a linear head that is not in the zoo: a YAML file or the name of a shipped recipe, such as
                ``configs/saliency/found.yaml``; the others know theirs.
            trust_checkpoint: allow pickled objects in the file, which can run arbitrary code.

        Raises:
            UnsegError: there is no such file, it is of another kind, or it does not fit the features of its recipe.
        """
        name = os.fspath(weights)
        path = None if recipe is None else os.fspath(recipe)
        model, cfg = load_saliency_model(name, flat_options(overrides), recipe=path, trust=trust_checkpoint)
        return cls(name, model, InputSettings.from_config(cfg).reading)

    def __call__(self, images: ImageLike | Iterable[ImageLike]) -> list[np.ndarray]:
        """Return the soft mask of each image.

        Args:
            images: paths, Pillow images or ``(H, W, 3)`` uint8 arrays in RGB, or a single one of these.

        Returns:
            ``(H, W)`` float32 in [0, 1] per image; more than one half is foreground.

        Raises:
            UnsegError: an image cannot be used.
        """
        return self.model([as_rgb(image, self.reading) for image in as_list(images)])
