"""Masks that hold several objects, divided along edges."""

from __future__ import annotations

from unseg_d2.masks.splitting.bgp import Fragment, split_masks
from unseg_d2.masks.splitting.edges import canny_edges, depth_edges
from unseg_d2.masks.splitting.settings import SplitSettings

__all__ = ["Fragment", "SplitSettings", "canny_edges", "depth_edges", "split_masks"]
