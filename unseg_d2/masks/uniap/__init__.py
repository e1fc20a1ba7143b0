"""UniAP: similarity of regions, the graph that joins them, and its layers."""

from __future__ import annotations

from unseg_d2.masks.uniap.settings import UniAPSettings
from unseg_d2.masks.uniap.uniap import UniAP, uniap, uniap_layers

__all__ = ["UniAP", "UniAPSettings", "uniap", "uniap_layers"]
