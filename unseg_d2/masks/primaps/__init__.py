"""PriMaPs: the proposals, and the search for them in one image or in a batch."""

from __future__ import annotations

from unseg_d2.masks.primaps.primaps import (
    PriMaPs,
    PriMaPsLabels,
    PriMaPsSettings,
    majority_filter,
    primaps,
    primaps_labels,
)

__all__ = ["PriMaPs", "PriMaPsLabels", "PriMaPsSettings", "majority_filter", "primaps", "primaps_labels"]
