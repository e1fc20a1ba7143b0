"""How many masks a label set has and how many of its images have none, and what to change where that is many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from unseg_d2.errors import UnsegError
from unseg_d2.masks.registry import filter_key, when_empty
from unseg_d2.settings import look_up

MANY_EMPTY = 0.25
"""Share of images without a mask from which the user is told what to change."""

MOST_REASONS = 3
"""Filters that the advice names, those of most images first."""
REFINED = "REFINE.MIN_IOU"
_NAMES = ("images", "masks", "images_without_masks", "most_masks_on_an_image")


class Rejected(NamedTuple):
    """What a filter turned down in the images without a mask."""

    candidates: int
    images: int


@dataclass(frozen=True)
class Tally:
    """Counts of a label set or of a detector's results.

    Attributes:
        images: that could be used.
        masks: on all of them.
        empty: images without a mask.
        most: masks of the image that has most.
        rejected: what was turned down in the images without a mask, by filter, where that is known; see
            :class:`~unseg_d2.pseudo.pseudo_masks.PseudoMasks`.
    """

    images: int
    masks: int
    empty: int
    most: int
    rejected: Mapping[str, Rejected] = field(default_factory=dict)

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

    @classmethod
    def of_lines(cls, lines: Iterable[Mapping[str, Any]]) -> Tally:
        """Return the tally of the lines of a shard's images, those that could not be used left out."""
        numbers, candidates, images = [], Counter[str](), Counter[str]()
        for line in lines:
            numbers.append(len(line.get("annotations", ())))
            candidates.update(line.get("rejected", {}))
            images.update(line.get("rejected", {}).keys())
        rejected = {name: Rejected(candidates[name], count) for name, count in images.most_common()}
        return cls(len(numbers), sum(numbers), numbers.count(0), max(numbers, default=0), rejected)

    def line(self, things: str = "masks") -> str:
        """Return the counts in words: ``31 masks on 3 images, at most 31 on one; 2 images have none (67 %)``."""
        text = f"{self.masks} {things} on {self.images} images"
        if not self.masks or not self.empty:
            return text + (f", at most {self.most} on one" if self.masks > self.images else "")
        have = "image has" if self.empty == 1 else "images have"
        share = f"{100 * self.empty / self.images:.0f} %"
        return f"{text}, at most {self.most} on one; {self.empty} {have} none ({share})"

    def to_info(self) -> dict[str, Any]:
        """Return what the ``info`` of a label set holds of it."""
        counts: dict[str, Any] = dict(zip(_NAMES, (self.images, self.masks, self.empty, self.most)))
        if self.rejected:
            counts["rejected_there"] = {name: found._asdict() for name, found in self.rejected.items()}
        return counts

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> Tally | None:
        """Return the tally that the ``info`` of a label set holds; ``None`` where it holds none."""
        counts = info.get("counts")
        if not isinstance(counts, Mapping):
            return None
        numbers = [counts[name] for name in _NAMES if isinstance(counts.get(name), int)]
        if len(numbers) < len(_NAMES):
            return None
        try:
            rejected = {str(name): Rejected(**found) for name, found in counts.get("rejected_there", {}).items()}
        except (AttributeError, TypeError):  # somebody else's
            rejected = {}
        images, masks, empty, most = numbers
        return cls(images, masks, empty, most, rejected)


def advice(tally: Tally, info: Mapping[str, Any]) -> str:
    """Return a line that says what to change where many images have no mask; empty where they have.

    Args:
        tally: of the label set.
        info: of the label set: it names the generator with its settings, or the rounds of self-training.
    """
    if not tally.images or tally.empty < MANY_EMPTY * tally.images:
        return ""
    which = "No image has a mask" if not tally.masks else f"{tally.empty} of {tally.images} images have no mask"
    return f"{which}: {_remedy(info, tally)}{_turned_down(info, tally)}"


def check_not_empty(info: Mapping[str, Any], labels: object) -> None:
    """Refuse to train on a label set without a single mask.

    Args:
        info: of the label set.
        labels: its file, for the message.

    Raises:
        UnsegError: there is none; the message says what to change.
    """
    tally = Tally.from_info(info)
    if tally and not tally.masks:
        raise UnsegError(f"There is nothing to train on in {labels}. {advice(tally, info)}")


def _turned_down(info: Mapping[str, Any], tally: Tally) -> str:
    """Say what each filter turned down in the images without a mask."""
    if not tally.rejected:
        return ""
    first = list(tally.rejected.items())[:MOST_REASONS]
    named = [f"{found.candidates} by {_key(info, name) or name} ({_images(found.images)})" for name, found in first]
    return f" Turned down in them: {', '.join(named)}."


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _key(info: Mapping[str, Any], name: str) -> str:
    """Return the key behind the name of a filter; empty where it is a reason in words."""
    return name if name == REFINED else filter_key(info.get("settings", {}), name)


def _remedy(info: Mapping[str, Any], tally: Tally) -> str:
    if info.get("rounds"):
        return "lower ROUNDS.SCORE_THRESHOLDS, so that more detections join the masks, or train for longer."
    settings, features = info.get("settings", {}), str(info.get("features", {}).get("name", ""))
    if "GENERATOR" not in settings.get("MASKS", {}) or features.startswith("labels/"):
        return "look at the label set that these masks were made from."
    first = next(iter(tally.rejected), "")
    own, key = when_empty(settings), _key(info, first)
    if first == REFINED or (not own and not first):
        refine = settings.get("REFINE", {})
        if refine.get("NAME", "none") != "none":
            return (
                f"REFINE.NAME {refine['NAME']} drops masks that it changes much; lower REFINE.MIN_IOU (now "
                f"{refine['MIN_IOU']:g}), or see what REFINE.NAME none leaves."
            )
    if key and key not in own:
        verb = "lower" if key.rpartition(".")[2].startswith("MIN_") else "raise"
        return f"{verb} {key} (now {look_up(settings, key):g})."
    if own:
        return own
    section = f"MASKS.{str(settings['MASKS']['GENERATOR']).upper()}"
    return f"change {section} (`unseg-d2 config {section}` explains its settings), or take other features."
