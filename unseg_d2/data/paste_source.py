"""Which image copy-paste takes its objects from: another one of the data set, of the same orientation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.records import as_records
from unseg_d2.data.transport import PackedRecords

_MOST_DRAWS = 100  # a data set may list one image many times, and no other


def orientation_groups(records: Sequence[dict[str, Any]], cfg: CfgNode) -> np.ndarray:
    """Return the group of each record, ``(n,)`` int: images of a batch, and what is pasted into them, are of one group.

    Args:
        records: Detectron2's standard dataset dicts.
        cfg: configuration; without ``DATALOADER.ASPECT_RATIO_GROUPING`` there is one group.
    """
    if not cfg.DATALOADER.ASPECT_RATIO_GROUPING:
        return np.zeros(len(records), dtype=np.int64)
    heights, widths = np.abs(as_records(records).facts().sizes).T  # a side that is not known is -1, and counts as 1
    return np.where(widths > heights, 0, 1)


class PasteSources:
    """The images of a data set, to draw one from.

    Args:
        records: Detectron2's standard dataset dicts; at least one.
        groups: group of each, ``(n,)`` int, see `orientation_groups`.
    """

    def __init__(self, records: PackedRecords, groups: np.ndarray) -> None:
        self.records = records
        self.members = [np.flatnonzero(groups == group) for group in range(int(groups.max()) + 1)]

    def draw(self, record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Draw another image of the same group; the image itself where it is alone.

        Args:
            record: the image to paste into, one of the records.
            rng: source of the draws.
        """
        members = self.members[_orientation(record) if len(self.members) > 1 else 0]
        own = _identity(record)
        for _ in range(_MOST_DRAWS):
            other = self.records[int(rng.choice(members))]
            if _identity(other) != own or len(members) == 1:
                break
        return other


def _orientation(record: dict[str, Any]) -> int:
    """0 for landscape, 1 for portrait and square, and for records of plain folders, which have no size."""
    return 0 if record.get("width", 1) > record.get("height", 1) else 1


def _identity(record: dict[str, Any]) -> tuple[Any, Any]:
    return record["file_name"], record["image_id"]
