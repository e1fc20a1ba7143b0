"""Soft masks of several methods, each refined in several ways, scored on one data set: the tables of Two Tricks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.at_work import at_work
from unseg_d2.data.settings import InputSettings
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.corloc import located, object_box, part_boxes
from unseg_d2.evaluation.refinements import REFINEMENTS
from unseg_d2.evaluation.saliency import SaliencyScores, score_saliency
from unseg_d2.refine import BilateralSettings, bilateral_solver, guided_filter, refiner_from_config
from unseg_d2.saliency.datasets import SalientImage, read_salient
from unseg_d2.saliency.settings import GuidedMaskSettings, SaliencySettings
from unseg_d2.saliency.views import centre_view

BATCH = 20
"""Images per batch; it makes a difference to the published inversion only."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Protocol:
    """How images and masks are cut before they are compared.

    Attributes:
        size: side of the square that is cut out of the middle, px; 0 compares whole images at their own size.
        shorter_side: what the shorter side is scaled to before, px.
        published: as the code of Two Tricks: a pixel of the scaled truth counts as foreground as soon as it is not
            0, and CorLoc takes the part with the largest box and needs more than .5.
    """

    size: int
    shorter_side: int
    published: bool = False

    @classmethod
    def square(cls, side: int, *, published: bool = False) -> Protocol:
        """Return the protocol of a middle square whose image is scaled in the paper's proportion; 0: whole images."""
        paper = SaliencySettings()
        return cls(side, side * paper.shorter_side // paper.image_size, published)

    def read(self, image: SalientImage) -> tuple[np.ndarray, np.ndarray]:
        """Return an image ``(H, W, 3)`` uint8 and its truth ``(H, W)`` bool.

        Raises:
            UnsegError: a file is damaged, or the image has no mask.
        """
        pixels, mask = read_salient(image)
        if mask is None:
            raise UnsegError(f"{image.path} has no mask to score against; name the data set as IMAGES::MASKS.")
        if self.size:
            pixels, mask = (centre_view(picture, self.size, self.shorter_side) for picture in (pixels, mask))
        return pixels, np.asarray(mask > (0 if self.published and self.size else 0.5))


Method = Callable[[Sequence[np.ndarray], Sequence[SalientImage], Protocol], list[np.ndarray]]
"""Images ``(H, W, 3)`` uint8, where they come from and how they were cut, to soft masks ``(H, W)`` in [0, 1]."""


@dataclass(frozen=True)
class MethodScores:
    """Metrics of one method on one data set.

    Attributes:
        method: its name.
        refinement: of :data:`REFINEMENTS`.
        saliency: per image; ``None`` where there are boxes and no masks to compare with.
        found: ``(n,)`` whether the box of each image met an object, 0 or 1; NaN where there is none.
    """

    method: str
    refinement: str
    saliency: SaliencyScores | None
    found: np.ndarray

    @property
    def name(self) -> str:
        """What a table calls it."""
        short = REFINEMENTS[self.refinement]
        return f"{self.method} + {short}" if short else self.method

    def metrics(self, chosen: np.ndarray | None = None) -> dict[str, float]:
        """Return the metrics in percent; ``chosen`` picks images, for the bootstrap."""
        found = self.found if chosen is None else self.found[chosen]
        metrics = self.saliency.means(chosen) if self.saliency else {}
        metrics["CorLoc"] = float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")
        return {key: 100 * value for key, value in metrics.items()}


def score_methods(
    images: Sequence[SalientImage],
    methods: dict[str, Method],
    refinements: Sequence[str],
    protocol: Protocol,
    cfg: CfgNode,
) -> list[MethodScores]:
    """Score every method with every refinement.

    Args:
        images: with masks.
        methods: by name.
        refinements: of :data:`REFINEMENTS`.
        protocol: see :class:`Protocol`.
        cfg: its ``REFINE`` and ``SALIENCY.GUIDED`` hold the settings of the refiners.
    """
    refine = {name: build_soft_refiner(name, cfg) for name in refinements}
    pairs: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        pixels, truths = zip(*(protocol.read(image) for image in part))
        for name, method in methods.items():
            with at_work(*(image.name for image in part), needed=True):
                masks = method(pixels, part, protocol)
            for kind, refiner in refine.items():
                refined = [_stored(refiner(image, mask)) for image, mask in zip(pixels, masks)]
                pairs.setdefault((name, kind), []).extend(zip(refined, truths))
        logger.info("%d of %d images", start + len(part), len(images))
    scores = []
    for (name, kind), compared in pairs.items():
        boxes = [part_boxes(truth) for _, truth in compared]
        found = locate([mask for mask, _ in compared], boxes, protocol.published)
        scores.append(MethodScores(name, kind, score_saliency(compared), found))
    return scores


def score_corloc(
    records: Sequence[dict[str, Any]],
    methods: dict[str, Method],
    refinements: Sequence[str],
    cfg: CfgNode,
    *,
    published: bool = False,
) -> list[MethodScores]:
    """Find out in which images with boxes, at their own size, every method with every refinement meets an object.

    Args:
        records: Detectron2's standard dataset dicts; crowds do not count, nor images without another box.
        methods: by name.
        refinements: of :data:`REFINEMENTS`.
        cfg: see :func:`score_methods`.
        published: the part with the largest box, and more than .5.
    """
    refine = {name: build_soft_refiner(name, cfg) for name in refinements}
    reading = InputSettings.from_config(cfg).reading
    truth = [record_boxes(record) for record in records]
    masks: dict[tuple[str, str], list[np.ndarray]] = {}
    for k, (record, boxes) in enumerate(zip(records, truth)):
        if not len(boxes):
            continue
        image = SalientImage(Path(record["file_name"]), Path(record["file_name"]).stem, reading=reading)
        pixels, _ = read_salient(image)
        for name, method in methods.items():
            with at_work(image.name, needed=True):
                (mask,) = method([pixels], [image], Protocol.square(0))
            for kind, refiner in refine.items():
                masks.setdefault((name, kind), []).append(_stored(refiner(pixels, mask)) > 0.5)
        if (k + 1) % 100 == 0:
            logger.info("%d of %d images", k + 1, len(records))
    if not masks:
        raise UnsegError("No image of the data set has a box, so there is nothing to find.")
    objects = [boxes for boxes in truth if len(boxes)]
    return [MethodScores(*key, None, locate(found, objects, published)) for key, found in masks.items()]


def locate(masks: Sequence[np.ndarray], truth: Sequence[np.ndarray], published: bool = False) -> np.ndarray:
    """Return ``(n,)`` 1 where the box of a mask, cut at one half, meets an object, else 0; NaN without objects."""
    boxes = [object_box(mask > 0.5, "box" if published else "area") for mask in masks]
    found = np.full(len(masks), np.nan)
    found[[len(objects) > 0 for objects in truth]] = located(boxes, truth, strict=published)
    return found


def record_boxes(record: dict[str, Any]) -> np.ndarray:
    """Return the boxes of a record, ``(g, 4)`` as ``x1, y1, x2, y2``, without crowds."""
    objects = [entry for entry in record.get("annotations", ()) if not entry.get("iscrowd")]
    boxes = [entry["bbox"] for entry in objects]
    return np.array([[x, y, x + width, y + height] for x, y, width, height in boxes], dtype=float).reshape(-1, 4)


def bootstrap(
    first: MethodScores, second: MethodScores, *, draws: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """Return what the second method gains over the first, per metric, with its 95 % interval over images.

    Args:
        first: scored on the same images as the second.
        second: see ``first``.
        draws: resamplings of the images.
        seed: of the resamplings.

    Returns:
        Difference, lower and upper end, in points, by metric.
    """
    rng, count = np.random.default_rng(seed), len(first.found)
    samples = [rng.integers(0, count, count) for _ in range(draws)]
    drawn = [(first.metrics(chosen), second.metrics(chosen)) for chosen in samples]
    gains = {}
    before, after = first.metrics(), second.metrics()
    for key in before:
        low, high = np.percentile([later[key] - earlier[key] for earlier, later in drawn], (2.5, 97.5))
        gains[key] = (after[key] - before[key], float(low), float(high))
    return gains


def _stored(mask: np.ndarray) -> np.ndarray:
    """Return a soft or hard mask as float32 in [0, 1]."""
    return np.clip(mask.astype(np.float32), 0, 1)


def build_soft_refiner(name: str, cfg: CfgNode) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return ``(image, soft mask) -> soft mask`` of a refinement; a CRF's masks are 0 or 1.

    Raises:
        UnsegError: for another name than those of :data:`REFINEMENTS`.
    """
    if name not in REFINEMENTS:
        raise UnsegError(f"--refine knows {', '.join(REFINEMENTS)}, but not '{name}'.")
    if name == "guided":
        # Not REFINE.GUIDED, which is tuned for the sharp masks of generators: the published results are of a filter of
        # radius 9 on soft masks, the one that a trained head applies to its own masks too.
        guided = GuidedMaskSettings.from_config(cfg)
        return lambda image, mask: guided_filter(
            image.mean(2, dtype=np.float32)[None] / 255, mask[None], radius=guided.radius, eps=guided.eps
        )[0]
    if name == "bilateral":
        settings = BilateralSettings.from_config(cfg)
        return lambda image, mask: bilateral_solver(image, mask[None], settings)[0] if mask.any() else mask
    refiner = refiner_from_config(cfg, name)
    return (lambda image, mask: mask) if name == "none" else lambda image, mask: refiner(image, mask[None])[0]
