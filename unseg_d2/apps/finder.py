"""What the page of `unseg-d2 app` does: find objects in photos, and return pictures, scores and COCO annotations.

Shape legend
    H, W   height and width of a photo in pixels
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.apps.demo_results import categories_of, to_annotations
from unseg_d2.apps.found import Found
from unseg_d2.apps.photo_groups import MOST, PhotoMasks, group_photos
from unseg_d2.config import edited
from unseg_d2.config.recipe import load_recipe
from unseg_d2.data.image_input import as_rgb
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.data.pictures.reading import Reading
from unseg_d2.data.settings import InputSettings
from unseg_d2.detectors.detector import Detector
from unseg_d2.errors import UnsegError
from unseg_d2.features import FeatureBackend, build_features, count_channels
from unseg_d2.features.follow_device import followed
from unseg_d2.features.registry import FeatureSettings
from unseg_d2.groups.pooled import Pooler
from unseg_d2.groups.settings import GroupSettings
from unseg_d2.levels import reconnected
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.pseudo.mask_generator import MaskGenerator
from unseg_d2.settings import Setting, look_up, own_settings
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


class Finder:
    """Finds objects with a mask generator of a recipe, whose settings may change, or with a detector.

    Args:
        recipe: of the generators; its features, depth and refinement are those of all.
        detector: trained, if there is one.
    """

    def __init__(self, recipe: CfgNode, detector: Detector | None = None) -> None:
        self.recipe, self.detector = recipe, detector
        self._built: tuple[tuple[Any, ...], MaskGenerator] | None = None
        self._features: tuple[FeatureBackend, FeatureSettings] | None = None

    def controls(self, generator: str) -> list[Control]:
        """Return the settings of a generator, as its section states them: numbers, lists of them, words, yes or no.

        Their values are those of the recipe with this generator: features bring thresholds that fit them.
        """
        entry = MASK_GENERATORS.entry(generator)
        recipe = load_recipe(self.recipe, "MASKS.GENERATOR", generator)
        found = []
        for name, known in own_settings(entry.settings).items() if entry.settings else ():
            key = f"{entry.section}.{name.upper()}"
            value = look_up(recipe, key)
            if (isinstance(known.default, SIMPLE) or is_list(known)) and not known.no_effect:
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
        found = Found(self._reading)
        for photo in photos:
            masks = maker(photo).to_coco()
            kept = reconnected(masks, [mask for mask in masks if mask["score"] >= threshold])
            found.add(photo, as_rgb(photo, self._reading).shape[:2], kept)
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
        categories = categories_of(self.detector)
        numbers = [category["id"] for category in categories] or 1
        found = Found(self._reading, categories)
        for photo, prediction in zip(photos, self.detector.stream(photos, score_threshold=threshold)):
            found.reading = prediction.reading
            found.add(photo, prediction.size, to_annotations(prediction, numbers))
        return found

    def group(self, found: Found, number: int) -> Found:
        """Put what was found into groups that look alike.

        Args:
            found: the masks.
            number: of the groups; 0 chooses it.

        Raises:
            UnsegError: there are too few masks, or a photo cannot be used any more.
        """
        settings = GroupSettings.from_config(self.recipe)
        candidates = tuple(one for one in settings.candidates if one <= MOST) or (MOST,)
        settings = replace(settings, number=number, candidates=candidates)
        photos = PhotoMasks(found.paths, found.images, found.masks)
        return replace(found, groups=group_photos(photos, self._pooler(found.reading), settings))

    def _maker(self, generator: str, values: Mapping[str, Any]) -> MaskGenerator:
        """Return the generator with these settings; the last one is kept, with its network."""
        pairs: tuple[Any, ...] = ("MASKS.GENERATOR", generator)
        for control in self.controls(generator):
            pairs += (control.key, typed(control.key, control.setting, values[control.key]))
        if self._built is None or self._built[0] != pairs:
            self._built = (pairs, MaskGenerator.from_recipe(self.recipe, *pairs))
        return self._built[1]

    @property
    def _reading(self) -> Reading:
        return InputSettings.from_config(self.recipe).reading

    def _pooler(self, reading: Reading) -> Pooler:
        """Return what describes masks, with the features of the recipe; they are kept, with their network."""
        if self._features is None:
            cfg = edited(self.recipe, followed(self.recipe))
            features = build_features(cfg)
            count_channels(features)  # an ensemble is refused
            self._features = (features, FeatureSettings.from_config(cfg))
        return Pooler(*self._features, reading)

    def _depth(self, maker: MaskGenerator, photo: Path) -> np.ndarray:
        assert maker.pipeline.depth is not None
        pixels = as_rgb(photo, self._reading)
        try:
            (depth,) = maker.pipeline.depth.source([pixels], [ImageFile(photo, photo.name)])
        except ImageProblem as problem:
            raise UnsegError(f"{photo.name} cannot be used: {problem}.") from None
        return depth_picture(depth)


def is_list(known: Setting) -> bool:
    """Whether a setting is a list of numbers, which a page shows as text with commas."""
    default = known.default
    return isinstance(default, (tuple, list)) and bool(default) and all(type(one) in (int, float) for one in default)


def typed(key: str, known: Setting, value: Any) -> Any:
    """Return a value of a page, which has one kind of number and no lists, as its setting has it.

    Args:
        key: of the configuration, for the message.
        known: the setting.
        value: of the page.

    Raises:
        UnsegError: nothing, or no number, stands where one is needed.

    >>> typed("MASKS.UNIAP.TAUS", Setting((0.8, 0.4), "thresholds"), "0.7, .5")
    (0.7, 0.5)
    """
    if value is None:
        raise UnsegError(f"{key} is empty; give it a value.")
    if not is_list(known):
        return type(known.default)(value)
    words = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(type(known.default[0])(word) for word in words if str(word).strip())
    except ValueError:
        shown = ", ".join(map(str, known.default))
        raise UnsegError(f"{key} is {value!r}, but needs numbers with commas between them, such as {shown}.") from None


def depth_picture(depth: DepthMap) -> np.ndarray:
    """Draw depth in viridis, far is bright, ``(H, W, 3)`` uint8 RGB."""
    values = depth.depth.numpy()
    values = -values if depth.kind == "inverse" else values
    low, high = np.percentile(values, (1, 99))
    grey = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
    colours = cv2.applyColorMap(grey.round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
