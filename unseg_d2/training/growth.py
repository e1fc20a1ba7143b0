"""How a label set grows over the rounds of self-training: a line and a row of a table for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = ("label set", "masks", "per image", "added", "kept", "replaced", "images without")


@dataclass(frozen=True)
class Growth:
    """What a label set is, and how it came from the one before.

    Attributes:
        name: of the label set.
        images: in it.
        masks: on them.
        empty: images without a mask.
        added: masks that the detector found; ``None`` for the first label set.
        kept: masks of the label set before; ``None`` for the first one.
        replaced: masks of the label set before that found ones cover; ``None`` where that is not known.
    """

    name: str
    images: int
    masks: int
    empty: int
    added: int | None = None
    kept: int | None = None
    replaced: int | None = None

    @classmethod
    def of(cls, name: str, info: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Growth | None:
        """Return the growth that the ``info`` of a label set tells of, ``None`` where it has no counts.

        Args:
            name: of the label set.
            info: of it.
            before: that of the label set before; ``None`` for the first one.

        >>> counts = {"images": 2, "masks": 5, "images_without_masks": 0}
        >>> merged = {"counts": counts, "rounds": [{"kept_predictions": 3, "kept_previous": 2}]}
        >>> Growth.of("round 1", merged, {"counts": {**counts, "masks": 4}}).row()
        ['round 1', '5', '2.50', '3', '2', '2', '0']
        """
        counts = info.get("counts")
        if not isinstance(counts, Mapping):
            return None
        numbers = (counts["images"], counts["masks"], counts["images_without_masks"])
        if before is None or not info.get("rounds"):
            return cls(name, *numbers)
        last = info["rounds"][-1]
        added, kept = last["kept_predictions"], last["kept_previous"]
        previous = before.get("counts", {}).get("masks")
        return cls(name, *numbers, added, kept, None if previous is None else previous - kept)

    def row(self) -> list[str]:
        """Return the cells below :data:`COLUMNS`."""
        per_image = f"{self.masks / self.images:.2f}" if self.images else "-"
        came = ["-" if number is None else str(number) for number in (self.added, self.kept, self.replaced)]
        return [self.name, str(self.masks), per_image, *came, str(self.empty)]

    def line(self) -> str:
        """Return it in words, for the log.

        >>> Growth("round 1", 2, 5, 1, 3, 2, 2).line()
        'label set of round 1: 3 masks added, 2 kept, 2 replaced: 2.50 per image; 1 image has none'
        """
        per_image = f"{self.masks / self.images:.2f} per image" if self.images else "no image"
        without = f"{self.empty} image has none" if self.empty == 1 else f"{self.empty} images have none"
        if self.added is None:
            return f"label set of {self.name}: {self.masks} masks: {per_image}; {without}"
        replaced = "" if self.replaced is None else f", {self.replaced} replaced"
        return f"label set of {self.name}: {self.added} masks added, {self.kept} kept{replaced}: {per_image}; {without}"


def growth_table(rows: Sequence[Growth]) -> list[list[str]]:
    """Return the table of all label sets of a run, its titles first."""
    return [list(COLUMNS), *(row.row() for row in rows)]
