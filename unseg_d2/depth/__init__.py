"""Images to depth: files, exact depth of synthetic scenes, models of the Hugging Face hub."""

from __future__ import annotations

from unseg_d2.depth.files import FilesDepth, SyntheticDepth
from unseg_d2.depth.grid import GridDepth, to_grid
from unseg_d2.depth.hub import HubDepth
from unseg_d2.depth.marigold import MarigoldDepth
from unseg_d2.depth.registry import DEPTH_SOURCES, DepthSource, build_depth

__all__ = [
    "DEPTH_SOURCES",
    "DepthSource",
    "FilesDepth",
    "GridDepth",
    "HubDepth",
    "MarigoldDepth",
    "SyntheticDepth",
    "build_depth",
    "to_grid",
]
