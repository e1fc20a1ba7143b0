"""One image in, its pseudo-masks out: resize, features, generator, refinement, back to the image's own size.

Shape legend
    H, W   height and width of the image in pixels
    S      side of the square that features and refinement work on, in pixels
    h, w   rows and columns of the patch grid
    n      number of proposals
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from fvcore.common.config import CfgNode
from PIL import Image

from unseg_d2.data.images import ImageFile
from unseg_d2.depth import GridDepth, build_depth
from unseg_d2.features import FeatureBackend, build_features
from unseg_d2.masks import MaskGenerator, build_generator
from unseg_d2.refine import Refiner, build_refiner
from unseg_d2.structures import PatchFeatures, Proposals, PseudoMask, PseudoMasks

Mode = Literal["default", "parity"]


@dataclass(frozen=True)
class MaskPipeline:
    """Everything between an image and its pseudo-masks.

    Attributes:
        features: backend that describes the square image.
        generator: finds proposals on the patch grid.
        refiner: ``(S, S, 3)`` uint8 image and ``(n, S, S)`` bool masks to ``(n, S, S)`` bool masks.
        image_size: wanted S; the nearest multiple of the patch size is taken.
        min_iou: a mask whose IoU with its refined self is lower is dropped.
        mode: see `resize_mask`.
        depth: tells the generator how far away the patches are; ``None`` where it does not ask.
        max_proposals: of an image with more proposals the best are taken; 0 takes all.
    """

    features: FeatureBackend
    generator: MaskGenerator
    refiner: Refiner
    image_size: int = 480
    min_iou: float = 0.5
    mode: Mode = "default"
    depth: GridDepth | None = None
    max_proposals: int = 0

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile] | None = None) -> list[PseudoMasks]:
        """Find the objects of a batch of images.

        Args:
            images: ``(H, W, 3)`` uint8 RGB each, of any size.
            files: where the images come from; depth that lies in files is found by it.

        Returns:
            Per image its masks at image size, best first; none of them is empty.

        Raises:
            ImageProblem: an image has no usable depth.
        """
        side = square_side(self.image_size, self.features.patch_size)
        squares = [square(image, side) for image in images]
        proposals = self.generator(self._with_depth(self.features(squares), images, files))
        return [self._finish(*triple) for triple in zip(images, squares, proposals, strict=True)]

    def _with_depth(
        self, features: list[PatchFeatures], images: Sequence[np.ndarray], files: Sequence[ImageFile] | None
    ) -> list[PatchFeatures]:
        if self.depth is None:
            return features
        files = files or [ImageFile(Path("image"), "image")] * len(images)
        depth = self.depth(images, files, features[0].grid)
        return [replace(one, depth=its) for one, its in zip(features, depth, strict=True)]

    def _finish(self, image: np.ndarray, resized: np.ndarray, proposals: Proposals) -> PseudoMasks:
        found = PseudoMasks()
        if not len(proposals):
            return found
        total, proposals = len(proposals), best(proposals, self.max_proposals)
        found.left_out = total - len(proposals)
        raw = upsample(proposals.masks.cpu().numpy(), len(resized))
        refined = self.refiner(resized, raw)
        kept = [index for index, value in enumerate(mask_iou(raw, refined)) if value >= self.min_iou]
        confidence = None if proposals.confidence is None else proposals.confidence.cpu().numpy()
        for index in kept:
            mask = resize_mask(refined[index], image.shape[0], image.shape[1], self.mode)
            if mask.any():
                patches = None if confidence is None else confidence[index]
                found.append(PseudoMask(mask, float(proposals.scores[index]), patches))
        return found


def build_pipeline(cfg: CfgNode) -> MaskPipeline:
    """Return the pipeline that ``cfg.FEATURES``, ``cfg.DEPTH``, ``cfg.MASKS`` and ``cfg.REFINE`` describe.

    Raises:
        UnsegError: a name is unknown, a weight file or an extra is missing.
    """
    name = cfg.REFINE.NAME
    settings = cfg.REFINE.get(name.upper(), {})
    source = build_depth(cfg)
    return MaskPipeline(
        features=build_features(cfg),
        generator=build_generator(cfg),
        refiner=build_refiner(name, **{key.lower(): value for key, value in settings.items()}),
        image_size=cfg.FEATURES.IMAGE_SIZE,
        min_iou=cfg.REFINE.MIN_IOU,
        mode=cfg.MASKS.MODE,
        depth=None if source is None else GridDepth(source, Path(cfg.DEPTH.CACHE) if cfg.DEPTH.CACHE else None),
        max_proposals=cfg.MASKS.MAX_PROPOSALS,
    )


def best(proposals: Proposals, count: int) -> Proposals:
    """Return the ``count`` proposals of highest score in the order that they have; all of them for 0."""
    if not 0 < count < len(proposals):
        return proposals
    chosen = proposals.scores.argsort(descending=True, stable=True)[:count].sort().values
    confidence = None if proposals.confidence is None else proposals.confidence[chosen]
    return Proposals(proposals.masks[chosen], proposals.scores[chosen], confidence)


def square_side(image_size: int, patch_size: int) -> int:
    """Return the multiple of the patch size nearest to the wanted side, at least one patch.

    >>> square_side(480, 8), square_side(480, 14)
    (480, 476)
    """
    return max(1, round(image_size / patch_size)) * patch_size


def square(image: np.ndarray, side: int) -> np.ndarray:
    """Stretch an image to a square with Lanczos' filter, as MaskCut and TokenCut do.

    Args:
        image: ``(H, W, 3)`` uint8.
        side: S.

    Returns:
        ``(S, S, 3)`` uint8.
    """
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))


def upsample(masks: np.ndarray, side: int) -> np.ndarray:
    """Repeat the patches of ``(n, h, w)`` bool masks (nearest neighbour) to ``(n, S, S)``."""
    rows, columns = (np.arange(side) * length // side for length in masks.shape[1:])
    return masks[:, rows[:, None], columns]


def mask_iou(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of each of ``(n, S, S)`` bool masks with its partner, ``(n,)``; 0 where both are empty."""
    intersection = (masks & others).sum((1, 2))
    return intersection / np.maximum((masks | others).sum((1, 2)), 1)


def resize_mask(mask: np.ndarray, height: int, width: int, mode: Mode = "default") -> np.ndarray:
    """Stretch a mask from the square to the size of its image.

    ``default`` interpolates linearly and keeps pixels covered by half or more. ``parity`` interpolates cubically and
    keeps pixels above half of the largest value, as the published code does with Pillow 7 and later.

    Args:
        mask: ``(S, S)`` bool.
        height: H.
        width: W.
        mode: ``default`` or ``parity``.

    Returns:
        ``(H, W)`` bool, possibly empty: a small object can vanish when the image is smaller than the square.
    """
    method = Image.Resampling.BICUBIC if mode == "parity" else Image.Resampling.BILINEAR
    resized = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), method))
    return resized > resized.max() / 2 if mode == "parity" else resized >= 128
