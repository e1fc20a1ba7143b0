"""ProMerge: prompts, the filter of their masks, and the merge."""

from __future__ import annotations

from unseg_d2.masks.promerge.promerge import ProMerge, ProMergeSettings, promerge

__all__ = ["ProMerge", "ProMergeSettings", "promerge"]
