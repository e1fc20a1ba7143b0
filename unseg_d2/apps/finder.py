"""What the page of `unseg-d2 app` does: find objects in photos, and return pictures, scores and COCO annotations.

Shape legend
    H, W   height and width of a photo in pixels
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.apps.demo_results import to_annotations
from unseg_d2.data.image_input import as_rgb
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.data.settings import InputSettings
from unseg_d2.detectors.detector import Detector
from unseg_d2.errors import UnsegError
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.pseudo.label_set import write_label_set
from unseg_d2.pseudo.mask_generator import MaskGenerator
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.settings import Setting, own_settings
from unseg_d2.structures import DepthMap

SIMPLE = (bool, int, float, str)


@dataclass(frozen=True)
class Control:
    """A setting of a generator that the page shows.

    Attributes:
        key: of the configuration.
        setting: its meaning and range.
        value: that of the recipe.
    """

    key: str
    setting: Setting
    value: Any


@dataclass
class Found:
    """What was found in photos.

    Attributes:
        pictures: ``(H, W, 3)`` uint8 RGB with what was found, and a caption.
        depths: the same for the depth that the generator worked with; empty without a depth source.
        rows: photo, number of the object from 1, score, and share of the photo's area in percent.
        images, annotations: COCO's.
    """

    pictures: list[tuple[np.ndarray, str]] = field(default_factory=list)
    depths: list[tuple[np.ndarray, str]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, drawn: np.ndarray, annotations: Sequence[dict[str, Any]]) -> None:
        """Record a photo, its picture and its annotations, whose ids are given here."""
        height, width = drawn.shape[:2]
        self.images.append({"id": len(self.images) + 1, "file_name": name, "height": height, "width": width})
        count = len(annotations)
        self.pictures.append((drawn, f"{name}: {count} object{'s' * (count != 1)}"))
        for number, annotation in enumerate(annotations, start=1):
            share = 100 * annotation["area"] / (height * width)
            self.rows.append([name, number, round(annotation["score"], 3), round(share, 1)])
            self.annotations.append(annotation | {"image_id": len(self.images)})

    def write(self, path: Path, how: str) -> Path:
        """Write COCO's file of annotations."""
        info = {"description": "objects found by unseg_d2", "found_with": how}
        write_label_set(path, info, self.images, self.annotations)
        return path


class Finder:
    """Finds objects with a mask generator of a recipe, whose settings may change, or with a detector.

    Args:
        recipe: of the generators; its features, depth and refinement are those of all.
        detector: trained, if there is one.
    """

    def __init__(self, recipe: CfgNode, detector: Detector | None = None) -> None:
        self.recipe, self.detector = recipe, detector
        self._built: tuple[tuple[Any, ...], MaskGenerator] | None = None

    def controls(self, generator: str) -> list[Control]:
        """Return the settings of a generator that are a number, a word or a yes or no, as its section states them."""
        entry = MASK_GENERATORS.entry(generator)
        found = []
        for name, known in own_settings(entry.settings).items() if entry.settings else ():
            key, value = f"{entry.section}.{name.upper()}", self.recipe
            for word in key.split("."):
                value = value[word]
            if isinstance(known.default, SIMPLE) and not known.no_effect:
                found.append(Control(key, known, value))
        return found

    def with_generator(
        self, photos: Sequence[str | Path], generator: str, values: Mapping[str, Any], threshold: float
    ) -> Found:
        """Find objects without a trained detector.

        Args:
            photos: files.
            generator: name of a mask generator.
            values: key of each of its `controls` to its value.
            threshold: lowest score that is shown.

        Raises:
            UnsegError: a photo cannot be used, a value is out of range, or the generator lacks something.
        """
        maker = self._maker(generator, values)
        found = Found()
        for photo in photos:
            masks = PseudoMasks(mask for mask in maker(photo) if mask.score >= threshold)
            found.add(os.path.basename(photo), masks.draw(photo), masks.to_coco())
            if maker.pipeline.depth is not None:
                found.depths.append((self._depth(maker, Path(photo)), os.path.basename(photo)))
        return found

    def with_detector(self, photos: Sequence[str | Path], threshold: float) -> Found:
        """Find objects with the detector.

        Args:
            photos: files.
            threshold: lowest score that is shown.

        Raises:
            UnsegError: there is no detector, or a photo cannot be used.
        """
        if self.detector is None:
            raise UnsegError("There is no detector here; start the page with --weights, a checkpoint or zoo:NAME.")
        found = Found()
        for photo, prediction in zip(photos, self.detector.stream(photos, score_threshold=threshold)):
            found.add(os.path.basename(photo), prediction.draw(photo), to_annotations(prediction))
        return found

    def _maker(self, generator: str, values: Mapping[str, Any]) -> MaskGenerator:
        """Return the generator with these settings; the last one is kept, with its network."""
        pairs: tuple[Any, ...] = ("MASKS.GENERATOR", generator)
        for control in self.controls(generator):
            kind = type(control.setting.default)
            pairs += (control.key, kind(values[control.key]))  # a page has one kind of number
        if self._built is None or self._built[0] != pairs:
            self._built = (pairs, MaskGenerator.from_recipe(self.recipe, *pairs))
        return self._built[1]

    def _depth(self, maker: MaskGenerator, photo: Path) -> np.ndarray:
        assert maker.pipeline.depth is not None
        pixels = as_rgb(photo, InputSettings.from_config(self.recipe).reading)
        try:
            (depth,) = maker.pipeline.depth.source([pixels], [ImageFile(photo, photo.name)])
        except ImageProblem as problem:
            raise UnsegError(f"{photo.name} cannot be used: {problem}.") from None
        return depth_picture(depth)


def depth_picture(depth: DepthMap) -> np.ndarray:
    """Draw depth in viridis, far is bright, ``(H, W, 3)`` uint8 RGB."""
    values = depth.depth.numpy()
    values = -values if depth.kind == "inverse" else values
    low, high = np.percentile(values, (1, 99))
    grey = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
    colours = cv2.applyColorMap(grey.round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
