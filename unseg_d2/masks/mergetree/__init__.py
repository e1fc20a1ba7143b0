"""Regions of a tree of merges: of the patches, or of superpixels of the image."""

from __future__ import annotations

from unseg_d2.masks.mergetree.mergetree import MergeTree, MergeTreeSettings, mergetree

__all__ = ["MergeTree", "MergeTreeSettings", "mergetree"]
