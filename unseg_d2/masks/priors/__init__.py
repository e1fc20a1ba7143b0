"""Where the foreground of an image is, before anything is cut: how many objects there are, on which side."""

from __future__ import annotations

from unseg_d2.masks.priors.guide import Guide, guides, unions_of_heads
from unseg_d2.masks.priors.settings import PriorSettings, UnionCutSettings
from unseg_d2.masks.priors.unioncut import foreground_union

__all__ = ["Guide", "PriorSettings", "UnionCutSettings", "foreground_union", "guides", "unions_of_heads"]
