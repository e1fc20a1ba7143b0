"""The evaluator `panoptic`: masks as segments, over things and, where maps of it are given, over stuff."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.evaluation.classes import Classes
from unseg_d2.evaluation.matched_classes import MatchedClassesSettings, name_groups
from unseg_d2.evaluation.panoptic_quality import PanopticQuality, Segment, without_overlap
from unseg_d2.evaluation.registry import EVALUATORS, Kind
from unseg_d2.evaluation.stuff import (
    Pixels,
    Stuff,
    StuffMaps,
    add_stuff,
    classes_of_clusters,
    count_pixels,
    regions_of,
)
from unseg_d2.rle import compress
from unseg_d2.settings import Settings, setting

PanopticMatching = Literal["none", "hungarian", "majority"]
NAMES = ("PQ", "SQ", "RQ")
OF_STUFF = ("stuff_matching", "stuff", "min_stuff_area")
"""Settings that have no effect where there are no maps of stuff."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PanopticSettings(Settings):
    """Settings of :class:`Panoptic`."""

    matching: PanopticMatching = setting(
        "none",
        "none: the categories of results are those of the ground truth | hungarian, majority: groups are matched with "
        "classes first, where the IoU is .5 or more",
        choices=get_args(PanopticMatching),
    )
    least_score: float = setting(0.5, "score below which a result is no segment", low=0, high=1)
    least_share: float = setting(
        0.5, "share of a mask that must not lie below masks of a higher score; else it is no segment", low=0, high=1
    )
    stuff_matching: PanopticMatching = setting(
        "hungarian",
        "clusters of the maps of --stuff: hungarian (one cluster for each class of stuff) | majority (each cluster has "
        "the class that most of its pixels have) | none (they are classes)",
        choices=get_args(PanopticMatching),
    )
    stuff: Sequence[int] = setting(
        (), "numbers of the classes of the ground truth's maps that are stuff; of none, all are", low=0
    )
    min_stuff_area: int = setting(
        0, "pixels of an image below which a class of stuff is no segment (Panoptic FPN: 4096)", unit="px", low=0
    )


@EVALUATORS.register("panoptic", settings=PanopticSettings)
class Panoptic:
    """Evaluator of masks as segments: PQ, SQ and RQ in percent, over the objects (things) of the ground truth.

    Instance annotations have no stuff, and what no object covers is background then, not unlabelled. With maps of stuff
    (:meth:`with_stuff`), what is neither stuff nor object has no label, and there are nine metrics: ``PQ`` over all
    classes, ``PQth`` over things, ``PQst`` over stuff, and the same of SQ and RQ. Things lie on top of stuff.
    """

    kinds = ("segm",)
    with_classes = True

    def __init__(self, settings: PanopticSettings, maps: StuffMaps | None = None) -> None:
        self.settings, self.maps, self.matches_classes = settings, maps, settings.matching != "none"
        matched = "" if settings.matching == "none" else f", after {settings.matching} matching of groups with classes"
        of_stuff = ""
        if maps is not None:
            named = "classes" if settings.stuff_matching == "none" else f"matched ({settings.stuff_matching})"
            of_stuff = f"; th: things, st: stuff, whose clusters are {named}"
        self.protocol = (
            f"PQ, SQ, RQ: over {'things and stuff' if of_stuff else 'objects'}, scores of {settings.least_score:g} or "
            f"more, the higher score on top{matched}{of_stuff}; in percent."
        )

    def with_stuff(self, maps: StuffMaps) -> Panoptic:
        """Return the evaluator of things and stuff."""
        return Panoptic(self.settings, maps)

    def __call__(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]], kind: Kind) -> dict[str, float]:
        """Return metrics by name, see :class:`~unseg_d2.evaluation.registry.Evaluator`."""
        shown = [item for item in results if item.get("score", 1.0) >= self.settings.least_score]
        if results and not shown:
            best = max(item.get("score", 1.0) for item in results)
            logger.warning(
                "None of the %d results is a segment: the highest score is %.2f, below TEST.PANOPTIC.LEAST_SCORE %g; "
                "lower it.",
                *(len(results), best, self.settings.least_score),
            )
        found, known = _by_image(self._named(truth, shown, kind)), _by_image(truth["annotations"])
        quality, counted = PanopticQuality(), list[Pixels]()
        for image in truth["images"]:
            pixels = self._add_things(quality, image, found.get(image["id"], ()), known.get(image["id"], ()))
            if pixels is not None:
                counted.append(pixels)
        class_of = classes_of_clusters(counted, self.settings.stuff_matching)
        for pixels in counted:
            add_stuff(quality, pixels, class_of, max(1, self.settings.min_stuff_area))
        if self.maps is not None:
            self._warn_of_stuff(quality)
        return self._metrics(quality)

    def _warn_of_stuff(self, quality: PanopticQuality) -> None:
        """Name classes of stuff in the settings that the ground truth never has."""
        of_class = {number: quality.of_class.get(Stuff(number)) for number in self.settings.stuff}
        absent = [str(number) for number, one in of_class.items() if one is None or not one.matched + one.missed]
        if absent:
            logger.warning(
                "TEST.PANOPTIC.STUFF names %s, of which the ground truth has no pixel beside its objects; its numbers "
                "are those of the label maps, or the ids of categories in a panoptic file.",
                ", ".join(absent),
            )

    def _metrics(self, quality: PanopticQuality) -> dict[str, float]:
        parts = {"": quality.means()}
        if self.maps is not None:
            parts |= {
                "th": quality.means(lambda key: not isinstance(key, Stuff)),
                "st": quality.means(lambda key: isinstance(key, Stuff)),
            }
        return {f"{name}{part}": 100 * value for part, of in parts.items() for name, value in zip(NAMES, of)}

    def _add_things(
        self,
        quality: PanopticQuality,
        image: Mapping[str, Any],
        found: Sequence[Mapping[str, Any]],
        known: Sequence[Mapping[str, Any]],
    ) -> Pixels | None:
        """Add the things of an image, and return what its stuff is compared by: masks and maps are decoded once."""
        objects = [Segment(item.get("category_id", 1), _mask(item, image), bool(item.get("iscrowd"))) for item in known]
        things = self._segments(found, image)
        if self.maps is None:
            quality.add(things, objects)
            return None
        maps = (self.maps.found(image), self.maps.known(image))
        regions = regions_of(*maps, things, objects, self.settings.stuff)
        quality.add(things, objects, regions.void)
        return count_pixels(regions)

    def _named(self, truth: Mapping[str, Any], results: list[dict[str, Any]], kind: Kind) -> list[dict[str, Any]]:
        """Return the results with the classes of their groups; those of groups without a class are left out.

        Raises:
            UnsegError: results are of a category that the ground truth does not list, and are no groups.
        """
        if self.settings.matching == "none":
            if listed := truth.get("categories"):
                Classes(listed).of(results)
            return results
        return name_groups(truth, results, kind, MatchedClassesSettings(matching=self.settings.matching)).results

    def _segments(self, items: Sequence[Mapping[str, Any]], image: Mapping[str, Any]) -> list[Segment]:
        masks, scores = [_mask(item, image) for item in items], [float(item.get("score", 1.0)) for item in items]
        kept = without_overlap(masks, scores, self.settings.least_share)
        return [Segment(item.get("category_id", 1), mask) for item, mask in zip(items, kept) if mask is not None]


def _by_image(items: Iterable[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    of_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        of_image[item["image_id"]].append(item)
    return of_image


def _mask(item: Mapping[str, Any], image: Mapping[str, Any]) -> np.ndarray:
    decoded: np.ndarray = mask_utils.decode(compress(item["segmentation"], image.get("height"), image.get("width")))
    return decoded.astype(bool)
