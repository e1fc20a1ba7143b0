"""Groups of what looks alike among the masks of some photos, with the functions of `unseg_d2.groups`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unseg_d2.errors import UnsegError
from unseg_d2.groups.fit import fit_groups
from unseg_d2.groups.names import classes_of, tidied
from unseg_d2.groups.pooled import Pooler
from unseg_d2.groups.prototypes import NONE
from unseg_d2.groups.settings import GroupSettings

MOST = 20
"""Groups that a page has names for."""


@dataclass(frozen=True)
class PhotoMasks:
    """The masks of photos in memory, as `unseg_d2.groups.source.ImageMasks` has them."""

    paths: Sequence[str]
    images: Sequence[dict[str, Any]]
    annotations: Sequence[Sequence[dict[str, Any]]]

    def picture(self, position: int) -> Path:
        """Return the file of a photo."""
        return Path(self.paths[position])

    def image(self, position: int) -> dict[str, Any]:
        """Return a photo as COCO has it."""
        return self.images[position]

    def masks(self, position: int) -> list[dict[str, Any]]:
        """Return the annotations of a photo."""
        return [{"iscrowd": 0} | mask for mask in self.annotations[position]]


@dataclass(frozen=True)
class PhotoGroups:
    """Groups of the masks of photos.

    Attributes:
        of_image: number from 0 of the group of each mask of each photo; -1 for none.
        confidence: of each mask of each photo, in [0, 1].
        names: of the groups, empty where one has none.
        about: what the annotation file says about them.
    """

    of_image: list[list[int]]
    confidence: list[list[float]]
    names: list[str]
    about: Mapping[str, Any]

    def sizes(self) -> list[int]:
        """Return the number of masks of each group."""
        counts = Counter(group for groups in self.of_image for group in groups)
        return [counts[group] for group in range(len(self.names))]

    def named(self, names: Sequence[str]) -> PhotoGroups:
        """Return the groups with other names, tidied."""
        given = [tidied(name) for name in names[: len(self.names)]]
        return replace(self, names=given + self.names[len(given) :])

    def called(self) -> list[list[str]]:
        """Return the class of each mask of each photo, by name."""
        names = {category["id"]: category["name"] for category in classes_of(self.names).categories}
        return [[names[said["category_id"]] for said in said_of] for said_of in self.annotations()]

    def annotations(self) -> list[list[dict[str, Any]]]:
        """Return ``category_id`` and ``group_confidence`` of each mask of each photo."""
        classes = classes_of(self.names)
        return [
            [
                {
                    "category_id": classes.other if group == NONE else classes.of_group[group],
                    "group_confidence": round(certain, 6),
                }
                for group, certain in zip(groups, confidence)
            ]
            for groups, confidence in zip(self.of_image, self.confidence)
        ]

    def categories(self) -> list[dict[str, Any]]:
        """Return COCO's categories, see `unseg_d2.groups.names.classes_of`."""
        return classes_of(self.names).listed(any(NONE in groups for groups in self.of_image))


def group_photos(photos: PhotoMasks, pooler: Pooler, settings: GroupSettings) -> PhotoGroups:
    """Put the masks of photos into groups that look alike.

    Args:
        photos: the masks.
        pooler: describes them.
        settings: of the groups.

    Raises:
        UnsegError: a photo cannot be used any more, there are too few masks, or scikit-learn is not installed.
    """
    part = pooler.part(photos, range(len(photos.images)))
    for place, reason in sorted(part.failures.items()):
        raise UnsegError(f"{photos.images[place]['file_name']} cannot be used: {reason}")
    prototypes = fit_groups(part.features[part.known], settings).prototypes
    assigned = prototypes.assign(part.features, settings.reach if settings.method == "hdbscan" else None)
    groups, confidence = assigned.groups.tolist(), assigned.confidence.tolist()
    starts = [sum(part.counts[:place]) for place in range(len(part.counts))]
    pieces = [slice(start, start + count) for start, count in zip(starts, part.counts)]
    about = {"features": pooler.backend.name, "fingerprint": prototypes.fingerprint, "METHOD": settings.method}
    return PhotoGroups(
        [groups[piece] for piece in pieces], [confidence[piece] for piece in pieces], [""] * len(prototypes), about
    )
