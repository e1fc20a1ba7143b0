"""How many masks a label set has and how many of its images have none, and what to change where that is many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unseg_d2.masks.registry import when_empty

MANY_EMPTY = 0.25
"""Share of images without a mask from which the user is told what to change."""


@dataclass(frozen=True)
class Tally:
    """Counts of a label set or of a detector's results.

    Attributes:
        images: that could be used.
        masks: on all of them.
        empty: images without a mask.
        most: masks of the image that has most.
    """

    images: int
    masks: int
    empty: int
    most: int

    @classmethod
    def of(cls, counts: Iterable[int]) -> Tally:
        """Return the tally of the numbers of masks of each image."""
        numbers = list(counts)
        return cls(len(numbers), sum(numbers), numbers.count(0), max(numbers, default=0))

    @classmethod
    def of_annotations(cls, images: Iterable[Mapping[str, Any]], annotations: Iterable[Mapping[str, Any]]) -> Tally:
        """Return the tally of COCO images and their annotations."""
        found = Counter(annotation["image_id"] for annotation in annotations)
        return cls.of(found[image["id"]] for image in images)

    def line(self, things: str = "masks") -> str:
        """Return the counts in words: ``31 masks on 3 images, at most 31 on one; 2 images have none (67 %)``."""
        text = f"{self.masks} {things} on {self.images} images"
        if not self.masks or not self.empty:
            return text + (f", at most {self.most} on one" if self.masks > self.images else "")
        have = "image has" if self.empty == 1 else "images have"
        share = f"{100 * self.empty / self.images:.0f} %"
        return f"{text}, at most {self.most} on one; {self.empty} {have} none ({share})"

    def to_info(self) -> dict[str, int]:
        """Return what the ``info`` of a label set holds of it."""
        return {
            "images": self.images,
            "masks": self.masks,
            "images_without_masks": self.empty,
            "most_masks_on_an_image": self.most,
        }


def advice(tally: Tally, info: Mapping[str, Any]) -> str:
    """Return a line that says what to change where many images have no mask; empty where they have.

    Args:
        tally: of the label set.
        info: of the label set: it names the generator with its settings, or the rounds of self-training.
    """
    if not tally.images or tally.empty < MANY_EMPTY * tally.images:
        return ""
    which = "No image has a mask" if not tally.masks else f"{tally.empty} of {tally.images} images have no mask"
    return f"{which}: {_remedy(info)}"


def _remedy(info: Mapping[str, Any]) -> str:
    if info.get("rounds"):
        return "lower ROUNDS.SCORE_THRESHOLDS, so that more detections join the masks, or train for longer."
    settings, features = info.get("settings", {}), str(info.get("features", {}).get("name", ""))
    if "GENERATOR" not in settings.get("MASKS", {}) or features.startswith("labels/"):
        return "look at the label set that these masks were made from."
    own = when_empty(settings)
    if own:
        return own
    refine = settings.get("REFINE", {})
    if refine.get("NAME", "none") != "none":
        return (
            f"REFINE.NAME {refine['NAME']} drops masks that it changes much; lower REFINE.MIN_IOU (now "
            f"{refine['MIN_IOU']:g}), or see what REFINE.NAME none leaves."
        )
    section = f"MASKS.{str(settings['MASKS']['GENERATOR']).upper()}"
    return f"change {section} (`unseg-d2 config {section}` explains its settings), or take other features."
