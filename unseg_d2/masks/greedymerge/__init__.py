"""Greedy merging: the loop that merges, the divide stage, and the generator."""

from __future__ import annotations

from unseg_d2.masks.greedymerge.greedymerge import GreedyMerge, GreedyMergeSettings, greedymerge
from unseg_d2.masks.greedymerge.merging import greedy_layers

__all__ = ["GreedyMerge", "GreedyMergeSettings", "greedy_layers", "greedymerge"]
