"""MaskCut, and the published code's variant of it."""

from __future__ import annotations

from unseg_d2.masks.maskcut.maskcut import MaskCut, MaskCutSettings, maskcut

__all__ = ["MaskCut", "MaskCutSettings", "maskcut"]
